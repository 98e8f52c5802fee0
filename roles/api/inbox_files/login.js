// What a device logs in with: a BrowserID assertion of the development identity provider, or an OpenID provider's
// token.
//
// Owns: the steps from a name, or from a person at a provider's page, to the text of `Authorization`.
// Promises: the user's key cannot be exported and is gone with the page; state, nonce and PKCE verifier are made anew
// for each log-in, stand in this tab's sessionStorage while the provider's page is open, and are used once; what a
// provider's redirect brought is out of the address bar before anything else happens. No token is kept here.
// Must not know: sessions, the inbox.

const PENDING = 'pushctl-inbox-oidc';
const LEEWAY_SECONDS = 60;

/**
 * What the page is told at config.json.
 * @typedef {{name: string, kind: 'id_token'|'access_token', issuer: string, client_id: string, scope: string,
 *   resource: ?string}} Provider
 * @typedef {{api: string, boxoffice: string, audience: string, dev_idp: boolean, providers: Provider[]}} Config
 * @typedef {{credential: string, account: string, provider: ?string}} Proof
 */

/** Of the development identity provider, for `name` there. @param {Config} config @returns {Promise<Proof>} */
export async function devProof(config, name) {
  const { DOMAIN, assertionFor, certificateFor, makeKey } = await import('/dev/browserid/browserid.mjs');
  const key = await makeKey();
  const certificate = await certificateFor(key, { api: config.api, name });
  const assertion = await assertionFor(key, { audience: config.audience });
  return { credential: `BrowserID ${certificate}~${assertion}`, account: `${name}@${DOMAIN}`, provider: null };
}

/** Sends the person to the provider's page; this page ends. @param {Provider} provider */
export async function goToProvider(provider) {
  const metadata = await metadataOf(provider);
  const [verifier, state, nonce] = [random(), random(), random()];
  sessionStorage.setItem(PENDING, JSON.stringify({ provider: provider.name, verifier, state, nonce }));
  const url = new URL(safe(metadata.authorization_endpoint, 'authorization_endpoint'));
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(verifier));
  const challenge = base64url(new Uint8Array(digest));
  const parameters = {
    response_type: 'code', client_id: provider.client_id, redirect_uri: here(), scope: provider.scope,
    state, nonce, code_challenge: challenge, code_challenge_method: 'S256',
  };
  if (provider.resource) parameters.resource = provider.resource;
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  location.assign(url);
}

/** What a provider's redirect brought, if this page was opened by one. Takes it out of the address bar. */
export function takeRedirect() {
  const query = new URLSearchParams(location.search);
  if (!query.has('state') || !(query.has('code') || query.has('error'))) return null;
  history.replaceState(null, '', here());
  const pending = JSON.parse(sessionStorage.getItem(PENDING) ?? 'null');
  sessionStorage.removeItem(PENDING);
  return { query, pending };
}

/** The token for the code that a redirect brought. @param {Config} config @returns {Promise<Proof>} */
export async function providerProof(config, { query, pending }) {
  const provider = config.providers.find((each) => each.name === pending?.provider);
  if (!provider || query.get('state') !== pending.state) {
    throw new Error('this answer of a provider does not belong to a log-in that was begun in this tab');
  }
  const metadata = await metadataOf(provider);
  const issuer = query.get('iss');
  if (issuer === null ? metadata.authorization_response_iss_parameter_supported : issuer !== provider.issuer) {
    throw new Error('the answer came from another issuer (RFC 9207)');
  }
  if (!query.has('code')) {
    throw new Error(`the provider refused: ${query.get('error_description') ?? query.get('error')}`);
  }
  const form = {
    grant_type: 'authorization_code', client_id: provider.client_id, redirect_uri: here(),
    code: query.get('code'), code_verifier: pending.verifier,
  };
  if (provider.resource) form.resource = provider.resource;
  const endpoint = safe(metadata.token_endpoint, 'token_endpoint');
  const tokens = await ask(endpoint, { method: 'POST', body: new URLSearchParams(form) });
  const token = tokens[provider.kind];
  if (typeof token !== 'string') throw new Error(`the provider gave no ${provider.kind}`);
  const claims = claimsOf(token);
  if (provider.kind === 'id_token') check(claims, provider, pending.nonce);
  return { credential: `Bearer ${token}`, account: `${claims.iss} ${claims.sub}`, provider: provider.name };
}

/** It came straight from the token endpoint, so its signature need not be checked here (OpenID Connect, 3.1.3.7). */
function check(claims, provider, nonce) {
  const audiences = [claims.aud].flat();
  const fits = claims.iss === provider.issuer && audiences.includes(provider.client_id) && claims.nonce === nonce;
  if (!fits || !(claims.exp > Date.now() / 1000 - LEEWAY_SECONDS)) throw new Error('the token is not for this log-in');
}

async function metadataOf(provider) {
  const metadata = await ask(`${provider.issuer.replace(/\/$/, '')}/.well-known/openid-configuration`);
  if (metadata.issuer !== provider.issuer) throw new Error('the provider calls itself by another name');
  return metadata;
}

async function ask(url, options = {}) {
  let answer;
  try {
    const headers = { Accept: 'application/json' };
    answer = await fetch(url, { ...options, headers, credentials: 'omit', redirect: 'error' });
  } catch {
    throw new Error(`${new URL(url).origin} cannot be reached, or does not let pages of this origin ask it`);
  }
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(`the provider refused: ${said.error_description ?? said.error ?? answer.status}`);
  return said;
}

/** https, or this machine. */
function safe(text, what) {
  const url = URL.canParse(text ?? '') ? new URL(text) : null;
  const loopback = ['localhost', '127.0.0.1', '[::1]'].includes(url?.hostname);
  if (url?.protocol !== 'https:' && !(url?.protocol === 'http:' && loopback)) {
    throw new Error(`the provider's ${what} is no https URL`);
  }
  return text;
}

function claimsOf(token) {
  try {
    const text = atob(token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/'));
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(text, (each) => each.charCodeAt(0))));
  } catch {
    throw new Error('the provider gave something that is no JWT');
  }
}

function here() {
  return location.origin + location.pathname;
}

function random() {
  return base64url(crypto.getRandomValues(new Uint8Array(32)));
}

function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
}
