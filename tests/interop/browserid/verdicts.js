// What browserid-local-verify says of bundles. Reads one JSON object: {bundles, audience, now, documents}, of documents
// by domain; prints a list: null for one that is accepted, else the error's text.
'use strict';

const BrowserID = require('browserid-local-verify');

const asked = JSON.parse(require('fs').readFileSync(0, 'utf8'));

function request(domain, path, done) {
  const document = asked.documents[domain];
  if (document === undefined) return done(null, 404, {}, '');
  return done(null, 200, { 'content-type': 'application/json' }, JSON.stringify(document));
}

const verifier = new BrowserID({ httpRequest: request, now: new Date(asked.now), maxDelegations: 5 });

// It throws from callbacks, too, where nobody can catch: one bundle at a time, so that it is known whose that is.
let thrown = () => {};
process.on('uncaughtException', (error) => thrown(`thrown: ${error}`));

function verdict(bundle) {
  return new Promise((resolve) => {
    thrown = resolve;
    try {
      verifier.verify({ assertion: bundle, audience: asked.audience }, (error) => resolve(error ? String(error) : null));
    } catch (error) {
      resolve(`thrown: ${error}`);
    }
  });
}

(async () => {
  const verdicts = [];
  for (const bundle of asked.bundles) verdicts.push(await verdict(bundle));
  process.stdout.write(JSON.stringify(verdicts));
})();
