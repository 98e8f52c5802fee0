// Keys, certificates and assertions as browserid-crypto makes them. Prints one JSON object; see test_browserid.py.
// Arguments: now in milliseconds, how many assertions to sign until one is short.
'use strict';

const { promisify } = require('util');
const jwcrypto = require('browserid-crypto');
require('browserid-crypto/lib/algs/rs');
require('browserid-crypto/lib/algs/ds');

const generate = promisify(jwcrypto.generateKeypair);
const signCertificate = promisify(jwcrypto.cert.sign);
const signAssertion = promisify(jwcrypto.assertion.sign);

const NOW = Number(process.argv[2]);
const TRIES = Number(process.argv[3]);
const ISSUER = 'idp.example';
const AUDIENCE = 'https://push.example.net';
const MINUTE = 60000;

async function bundle(issuer, user, shift) {
  const certificate = await signCertificate(
    { publicKey: user.publicKey, principal: { email: 'alice@idp.example' } },
    { issuer: ISSUER, issuedAt: new Date(NOW - MINUTE), expiresAt: new Date(NOW + 60 * MINUTE) },
    {}, issuer.secretKey);
  const assertion = await signAssertion(
    {}, { audience: AUDIENCE, expiresAt: new Date(NOW + 2 * MINUTE + (shift || 0)) }, user.secretKey);
  return jwcrypto.cert.bundle([certificate], assertion);
}

function isShort(text, bytes) {
  return Buffer.from(text.split('.').pop(), 'base64').length < bytes;
}

async function main() {
  const keys = {};
  for (const [name, algorithm, keysize] of
    [['RS64', 'RS', 64], ['RS128', 'RS', 128], ['RS256', 'RS', 256], ['DS128', 'DS', 128], ['DS256', 'DS', 256]]) {
    keys[name] = await generate({ algorithm, keysize });
  }
  const bundles = [];
  for (const issuer of Object.keys(keys)) {
    for (const user of Object.keys(keys)) {
      bundles.push({ issuer, user, text: await bundle(keys[issuer], keys[user]) });
    }
  }
  const short = [];
  for (let at = 0; at < TRIES && !short.length; at += 1) {
    const assertion = await signAssertion(
      {}, { audience: AUDIENCE, expiresAt: new Date(NOW + MINUTE + at) }, keys.RS256.secretKey);
    if (isShort(assertion, 256)) {
      short.push(jwcrypto.cert.bundle([(await bundle(keys.RS256, keys.RS256)).split('~')[0]], assertion));
    }
  }
  const publicKeys = {};
  for (const name of Object.keys(keys)) publicKeys[name] = keys[name].publicKey.toSimpleObject();
  process.stdout.write(JSON.stringify({ keys: publicKeys, bundles, short }));
}

main().catch((error) => { console.error(error); process.exit(1); });
