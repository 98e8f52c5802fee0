// A client of pushctl for browsers: one device of a user. No dependency, no build step; copy this file, peer.js and
// connection.js (store.js is a store for IndexedDB; any other with the same methods will do).
//
//   import { Client } from './pushctl.js';
//   import { openStore } from './store.js';
//
//   const client = new Client({ api: 'https://push.example', boxoffice: 'https://push.example',
//                               store: await openStore('inbox'), ask: ({ site }) => confirm(`Allow ${site}?`) });
//   client.addEventListener('change', ({ detail }) => show(detail.put));
//   await client.logIn(`Bearer ${idToken}`, { name: 'my laptop', account: 'alice' });
//   client.start();
//
// Owns: the requests of docs/protocol.md, section 1, and the order of things: Box Office, server, hello, sync, live,
// and again. Promises: what it tells of is in the store already; it asks and connects only when peer.js says so; no
// push URL is made that `ask` did not agree to; a token stands in no URL, log or error. Must not know: pages.

import { Connection, Intake, READ_BATCH } from './connection.js';
import { Peer } from './peer.js';

const ANSWER_SECONDS = 30;
const WAKE_SECONDS = 3;
const SETTLE_SECONDS = 1;

/**
 * @typedef {{token: string, user: string, device: string, deviceName: string, account: string}} Session
 *   `account`: who logged in, in the page's own words
 * @typedef {{id: string, site: string, url: string, icon: ?string, vapid_key: ?string, created_at: string}} PushUrl
 * @typedef {{id: string, message: object, state: 'unread'|'pending'|'read', receivedAt: number, keepUntil: number}} Row
 *   a message (docs/protocol.md, "Message") as this device has it; pending: read here, not confirmed yet; to be shown
 *   until `keepUntil`
 * @typedef {{put: Row[], gone: string[], pushUrls: boolean, live: number}} Change
 *   rows that are new or changed, ids that are not there any more, whether push URLs changed, and how many of `put`
 *   came just now, unread
 *
 * What keeps all of it. Each method is all or nothing.
 * @typedef {object} Store
 * @property {() => Promise<?Session>} session
 * @property {(account: string) => Promise<?string>} deviceOf the id of the device that this account was here before
 * @property {(session: Session) => Promise<void>} beginSession another user's: what was here is forgotten
 * @property {() => Promise<void>} endSession the token and the inbox go, which device this was stays
 * @property {() => Promise<void>} forgetDevice
 * @property {() => Promise<?string>} cursor
 * @property {(events: object[], cursor: ?string) => Promise<Change>} apply null: the cursor stays where it is
 * @property {(pushUrls: PushUrl[], messages: object[], cursor: string) => Promise<Change>} replace a snapshot
 * @property {(ids: string[]) => Promise<Change>} markRead those that were unread are pending
 * @property {() => Promise<string[]>} pendingReads
 * @property {(ids: string[]) => Promise<Change>} confirmRead
 * @property {(pushUrl: PushUrl) => Promise<Change>} putPushUrl
 * @property {(id: string) => Promise<Change>} removePushUrl
 *
 * @typedef {object} Status
 * @property {'off'|'asking'|'waiting'|'connecting'|'connected'|'stopped'} phase
 * @property {?string} url of the socket server it is connected to, or tries
 * @property {?string} server the id by which that server calls itself
 * @property {?{at: number, ok: boolean, said: string, servers: string[]}} boxOffice its last answer
 * @property {?number} nextAt when the Box Office is asked again (Date.now)
 * @property {?string} reason why it is not connected
 * @property {boolean} login only a new log-in helps
 */

/** The service said no, or nothing. `status`: of its answer, 0 without one; `code`: as in docs/problems.md. */
export class ServiceError extends Error {
  constructor(text, { status = 0, code = null, field = null, retryAfter = null } = {}) {
    super(text);
    Object.assign(this, { name: 'ServiceError', status, code, field, retryAfter });
  }
}

/**
 * One device. Events, each with `detail`: `status` (Status), `change` (Change: what is new in the store), `synced`
 * ("delta" or "snapshot": nothing is missing now).
 */
export class Client extends EventTarget {
  #api;
  #boxoffice;
  #store;
  #ask;
  #running = null;
  #connection = null;
  #hurry = null;
  /** @type {Status} */
  #status = { phase: 'off', url: null, server: null, boxOffice: null, nextAt: null, reason: null, login: false };

  /**
   * @param {{api: string, boxoffice: string, store: Store,
   *   ask: (wanted: {site: string, icon: ?string}) => boolean|Promise<boolean>}} options `ask`: a person, whether a
   *   site may send
   */
  constructor({ api, boxoffice, store, ask }) {
    super();
    this.#api = api.replace(/\/+$/, '');
    this.#boxoffice = boxoffice.replace(/\/+$/, '');
    this.#store = store;
    this.#ask = ask;
  }

  /** @returns {Status} */
  get status() {
    return this.#status;
  }

  // --- one request each ------------------------------------------------------------------------------------------

  /**
   * Becomes a device of a user, the same one as before where the service still knows it.
   * @param {string} credential what `Authorization` says: `BrowserID <assertion>` or `Bearer <OIDC token>`
   * @param {{name: string, account: string, provider?: ?string}} device `name`: what its user calls it
   * @returns {Promise<Session>}
   */
  async logIn(credential, { name, account, provider = null }) {
    const id = await this.#store.deviceOf(account);
    let opened;
    try {
      opened = await request(`${this.#api}/v1/login`, {
        method: 'POST', authorization: credential, body: { device: { name, id }, provider },
      });
    } catch (error) {
      if (error.status === 404 && id !== null) await this.#store.forgetDevice(); // the next log-in makes a new one
      throw error;
    }
    const { token, user, device } = opened;
    const session = { token, user, device: device.id, deviceName: device.name, account };
    await this.#store.beginSession(session);
    this.#connection?.sayToken(token);
    return session;
  }

  /** Forgets the inbox here, at once, and ends this session, or all of the user's. Throws if that could not be said. */
  async logOut({ everywhere = false } = {}) {
    this.stop();
    const session = await this.#store.session();
    await this.#store.endSession();
    if (session === null) return;
    const authorization = `Bearer ${session.token}`;
    await request(`${this.#api}/v1/login${everywhere ? '?everywhere=true' : ''}`, { method: 'DELETE', authorization })
      .catch((error) => {
        if (error.status !== 401) throw error; // it is over already
      });
  }

  /**
   * The push URL for a site, once a person agreed to it; null if not.
   * @param {string} site an origin @param {?string} icon an http(s) or small data: URL @returns {Promise<?PushUrl>}
   */
  async allow(site, icon = null) {
    if (!(await this.#ask({ site, icon }))) return null;
    const pushUrl = await this.#request('/v1/push-urls', { method: 'POST', body: { site, icon } });
    this.#changed(await this.#store.putPushUrl(pushUrl));
    return pushUrl;
  }

  /** From now on this push URL answers 410. @param {string} id */
  async revoke(id) {
    try {
      await this.#request(`/v1/push-urls/${encodeURIComponent(id)}`, { method: 'DELETE' });
    } catch (error) {
      if (error.status !== 404) throw error; // it is gone already
    }
    this.#changed(await this.#store.removePushUrl(id));
  }

  /** Marks messages read, here at once, and everywhere as soon as there is a connection. @param {string[]} ids */
  async markRead(ids) {
    this.#changed(await this.#store.markRead(ids));
    await this.#connection?.sayReads();
  }

  /** Everything missed, over HTTP: for where no connection can be had. What was read here is said first. */
  async sync() {
    const pending = await this.#store.pendingReads();
    for (let start = 0; start < pending.length; start += READ_BATCH) {
      const ids = pending.slice(start, start + READ_BATCH);
      await this.#request('/v1/messages/read', { method: 'POST', body: { ids } });
      this.#changed(await this.#store.confirmRead(ids));
    }
    const intake = new Intake(this.#store);
    const cursor = await this.#store.cursor();
    let query = cursor === null ? '' : `?cursor=${encodeURIComponent(cursor)}`;
    for (;;) {
      const page = await this.#request(`/v1/sync${query}`);
      const { changes, synced } = await intake.take([page]);
      changes.forEach((change) => this.#changed(change));
      if (synced) {
        this.#tell('synced', synced);
        return;
      }
      query = `?next=${encodeURIComponent(page.next)}`;
    }
  }

  /** The user's devices, this one with `current`. @returns {Promise<object[]>} */
  async devices() {
    return (await this.#request('/v1/devices')).devices;
  }

  // --- staying connected -----------------------------------------------------------------------------------------

  /** Connects, and stays connected until `stop`. Nothing happens where it runs already. */
  start() {
    if (this.#running) return;
    const running = { stopped: false };
    this.#running = running;
    this.#say({ phase: 'asking', reason: null, login: false });
    this.#run(running).catch((error) => this.#stopped(running, { reason: error.message, login: false }));
  }

  /** Leaves, and asks for nothing any more. */
  stop() {
    const running = this.#running;
    if (!running) return;
    this.#stopped(running, { reason: null, login: false });
    this.#connection?.close();
    this.#hurry?.();
  }

  /** A person does not want to wait; what the service asked to wait is still waited. */
  retryNow() {
    this.#hurry?.();
  }

  /** The network may have changed, or the machine was asleep: look whether the server is there, or try again soon. */
  wake() {
    this.#connection?.check(WAKE_SECONDS);
    const { nextAt } = this.#status;
    // All machines of an office are woken by the same network.
    if (nextAt !== null && nextAt - Date.now() > SETTLE_SECONDS * 1000) {
      setTimeout(() => this.#hurry?.(), Math.random() * SETTLE_SECONDS * 1000);
    }
  }

  async #run(running) {
    const peer = new Peer();
    let step = peer.start();
    while (!running.stopped) {
      if (step.do === 'ask') {
        await this.#wait(step);
        if (!running.stopped) step = await this.#askBoxOffice(peer);
      } else if (step.do === 'try') {
        step = await this.#visit(peer, step.url, running);
      } else {
        if (step.login) await this.#store.endSession();
        this.#stopped(running, step);
      }
    }
  }

  async #wait({ after, asked }) {
    if (after === 0) return;
    const begun = Date.now();
    this.#say({ phase: 'waiting', url: null, server: null, nextAt: begun + after * 1000 });
    await new Promise((resolve) => {
      let timer = setTimeout(resolve, after * 1000);
      this.#hurry = () => {
        clearTimeout(timer);
        const running = this.#running && !this.#running.stopped;
        const least = running ? Math.max(0, begun + asked * 1000 - Date.now()) : 0;
        timer = setTimeout(resolve, least);
        if (running) this.#say({ nextAt: Date.now() + least });
      };
    });
    this.#hurry = null;
  }

  async #askBoxOffice(peer) {
    this.#say({ phase: 'asking', nextAt: null, url: null, server: null });
    const at = Date.now();
    try {
      const session = await this.#store.session();
      if (session === null) return { do: 'stop', code: 401, reason: 'not logged in', login: true };
      const authorization = `Bearer ${session.token}`;
      const answer = await request(`${this.#boxoffice}/v1/servers`, { authorization });
      const servers = Array.isArray(answer?.servers) ? answer.servers.map(String) : [];
      this.#say({ boxOffice: { at, ok: true, said: `${servers.length} servers`, servers } });
      return peer.offered(servers, Number(answer?.expires_in_seconds) || 0, seconds());
    } catch (error) {
      const said = error.status ? `${error.status}: ${error.message}` : error.message;
      this.#say({ boxOffice: { at, ok: false, said, servers: [] }, reason: `The Box Office: ${said}` });
      return error.status ? peer.boxOfficeRefused(error.status, error.retryAfter) : peer.boxOfficeUnreachable();
    }
  }

  async #visit(peer, url, running) {
    this.#say({ phase: 'connecting', url });
    const session = await this.#store.session();
    let welcomed = false;
    const connection = new Connection(this.#store, {
      welcome: ({ server }) => {
        welcomed = true;
        peer.welcomed(seconds());
        this.#say({ phase: 'connected', server, reason: null });
      },
      change: (change) => this.#changed(change),
      synced: (mode) => this.#tell('synced', mode),
    });
    this.#connection = connection;
    const ended = await connection.run(url, session?.token ?? '', await this.#store.cursor());
    if (this.#connection === connection) this.#connection = null;
    const now = seconds();
    if (!running.stopped) this.#say({ reason: `${welcomed ? 'Disconnected' : 'Not connected'}: ${ended.reason}` });
    if (connection.leaveAt !== null) peer.reconnectAsked((connection.leaveAt - performance.now()) / 1000, now);
    // 1006 before any welcome is a server that cannot be reached, is full, or is silent.
    return !welcomed && ended.code === 1006 ? peer.serverFailed(now) : peer.closed(ended.code, now);
  }

  #stopped(running, { reason, login }) {
    if (running.stopped) return;
    running.stopped = true;
    this.#running = null;
    this.#say({ phase: reason === null ? 'off' : 'stopped', url: null, server: null, nextAt: null, reason, login });
  }

  // --- inside ----------------------------------------------------------------------------------------------------

  async #request(path, options = {}) {
    const session = await this.#store.session();
    if (session === null) throw new ServiceError('not logged in', { status: 401, code: 'unauthenticated' });
    try {
      return await request(this.#api + path, { ...options, authorization: `Bearer ${session.token}` });
    } catch (error) {
      if (error.status === 401 && error.code === 'unauthenticated') {
        // Said only on proof: the session is over, and what is here is not for whoever sits here now.
        await this.#store.endSession();
        if (this.#running) this.#stopped(this.#running, { reason: error.message, login: true });
        else this.#say({ phase: 'stopped', reason: error.message, login: true });
        this.#connection?.close();
      }
      throw error;
    }
  }

  #changed(change) {
    this.#tell('change', change);
  }

  #say(news) {
    this.#status = { ...this.#status, ...news };
    this.#tell('status', this.#status);
  }

  #tell(kind, detail) {
    this.dispatchEvent(new CustomEvent(kind, { detail }));
  }
}

function seconds() {
  return performance.now() / 1000;
}

/**
 * One request and its JSON answer, null for 204. No cookie goes along, no redirect is followed.
 * @param {string} url @param {{method?: string, authorization?: string, body?: object}} options
 * @returns {Promise<any>} @throws {ServiceError}
 */
export async function request(url, { method = 'GET', authorization, body } = {}) {
  const headers = { Accept: 'application/json' };
  if (authorization) headers.Authorization = authorization;
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  let answer;
  try {
    answer = await fetch(url, {
      method, headers, body: body === undefined ? undefined : JSON.stringify(body),
      keepalive: method === 'DELETE', // also when the page is left meanwhile
      cache: 'no-store', credentials: 'omit', redirect: 'error', referrerPolicy: 'no-referrer',
      signal: AbortSignal.timeout(ANSWER_SECONDS * 1000),
    });
    if (answer.ok) return answer.status === 204 ? null : await answer.json();
  } catch (error) {
    const origin = new URL(url).origin;
    if (error.name === 'TimeoutError') throw new ServiceError(`${origin} did not answer within ${ANSWER_SECONDS} s`);
    throw new ServiceError(answer ? `${origin} does not answer like this service` : `${origin} cannot be reached`);
  }
  throw await refusal(answer);
}

/** The error that an answer other than 2xx is (problem+json). @param {Response} answer */
export async function refusal(answer) {
  const problem = await answer.json().catch(() => ({}));
  const after = answer.headers.get('Retry-After') ?? '';
  const text = typeof problem.detail === 'string' ? problem.detail : `the service answered ${answer.status}`;
  return new ServiceError(text, {
    status: answer.status,
    code: problem.code ?? null,
    field: problem.field ?? null,
    retryAfter: /^\d+$/.test(after) ? Number(after) : null,
  });
}
