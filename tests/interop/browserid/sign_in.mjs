// Runs the script of the sign-in page, as the server gives it, with this node's WebCrypto. Prints one JSON object.
// Arguments: the api's URL, a name, and optionally an audience.

import { webcrypto } from 'node:crypto';

globalThis.crypto ??= webcrypto;
const [api, name, audience] = process.argv.slice(2);

const source = await (await fetch(`${api}/dev/browserid/browserid.mjs`)).text();
const page = await import(`data:text/javascript;base64,${Buffer.from(source).toString('base64')}`);
try {
  const session = await page.login({ api, audience, name, device: 'browser' });
  console.log(JSON.stringify({ session }));
} catch (error) {
  console.log(JSON.stringify({ status: error.status, code: error.code, message: error.message }));
}
