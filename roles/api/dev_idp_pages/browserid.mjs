// BrowserID in a page, with WebCrypto: a key, a certificate for it by the development identity provider, an assertion,
// a session. Pages of the api's own origin can do all of it; no other page is given a certificate.
//
//   import { login } from './browserid.mjs';
//   const session = await login({ api: location.origin, name: 'alice', device: 'browser' });
//   // {"token", "user", "device": {"id", "name"}, "expires_at"}, as POST /v1/login answers
//
// The user's private key is not extractable and is gone with the page.

export const DOMAIN = 'dev-idp.localhost';
const ALGORITHM = {
  name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256', modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]),
};

function base64url(bytes) {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
}

// Of a JWK's number, what the form of 2011 writes: decimal digits.
function decimal(text) {
  const raw = atob(text.replace(/-/g, '+').replace(/_/g, '/'));
  let hex = '0x';
  for (const character of raw) hex += character.charCodeAt(0).toString(16).padStart(2, '0');
  return BigInt(hex).toString();
}

export async function makeKey() {
  return crypto.subtle.generateKey(ALGORITHM, false, ['sign', 'verify']);
}

export async function publicKeyOf(key) {
  const jwk = await crypto.subtle.exportKey('jwk', key.publicKey);
  return { algorithm: 'RS', n: decimal(jwk.n), e: decimal(jwk.e) };
}

// What an answer says went wrong, as an Error with its `status` and `code` (problem+json).
async function answered(response) {
  const body = await response.json();
  if (response.ok) return body;
  throw Object.assign(new Error(body.detail), { status: response.status, code: body.code });
}

export async function certificateFor(key, { api, name, seconds = 3600 }) {
  const response = await fetch(`${api}/dev/browserid/certificate`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'X-Pushctl-Dev': '1' },
    body: JSON.stringify({
      email: name.includes('@') ? name : `${name}@${DOMAIN}`,
      public_key: await publicKeyOf(key),
      duration_seconds: seconds,
    }),
  });
  return (await answered(response)).certificate;
}

export async function assertionFor(key, { audience, milliseconds = 120000 }) {
  const parts = [{ alg: 'RS256' }, { exp: Date.now() + milliseconds, aud: audience }];
  const encoder = new TextEncoder();
  const input = parts.map((part) => base64url(encoder.encode(JSON.stringify(part)))).join('.');
  const signature = await crypto.subtle.sign(ALGORITHM.name, key.privateKey, encoder.encode(input));
  return `${input}.${base64url(new Uint8Array(signature))}`;
}

// `audience`: the api's public origin, where that is not how this page reaches it. `deviceId`: this device's of before.
export async function login({ api, audience = api, name, device, deviceId = null }) {
  const key = await makeKey();
  const bundle = `${await certificateFor(key, { api, name })}~${await assertionFor(key, { audience })}`;
  const response = await fetch(`${api}/v1/login`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Authorization: `BrowserID ${bundle}` },
    body: JSON.stringify({ device: { name: device, id: deviceId } }),
  });
  return answered(response);
}
