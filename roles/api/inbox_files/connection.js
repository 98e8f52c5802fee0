// One open connection of a device to a socket server, from hello to its end (docs/protocol.md, section 4).
//
// Owns: hello and welcome, taking frames in, acknowledging them in batches, repeating reads that were not confirmed,
// noticing that the server is gone.
// Promises: a frame is in the store before it is told and before it is acknowledged; at most one ack in 200 ms or 20
// frames; a snapshot is applied whole or not at all.
// Must not know: which server is next (peer.js), HTTP, who shows what comes.
//
// A page sees neither the pings of WebSocket nor its pongs: a quiet server is asked with the protocol's own `ping`.

const SUBPROTOCOL = 'pushctl.v1';
const WELCOME_SECONDS = 20;
const PONG_SECONDS = 20;
const LEAST_PING_SECONDS = 1;
const ACK_SECONDS = 0.2;
const ACK_FRAMES = 20;
const NO_CODE = 1006;

export const READ_BATCH = 500;

/** Applies what comes to a store, in the right portions. Of one connection, or of one sync over HTTP. */
export class Intake {
  #store;
  #pages = [];

  /** @param {import('./pushctl.js').Store} store */
  constructor(store) {
    this.#store = store;
  }

  /**
   * Applies frames, in as few transactions as they allow.
   * @param {object[]} frames events, and `sync` frames (or bodies of GET /v1/sync, which are the same)
   * @returns {Promise<{cursor: ?string, changes: import('./pushctl.js').Change[], synced: ?string}>} `cursor`: all up
   *   to it is in the store; `synced`: "delta" or "snapshot" once that was whole
   */
  async take(frames) {
    const taken = { cursor: null, changes: [], synced: null };
    let events = [];
    const flush = async () => {
      if (events.length || taken.unsaved) taken.changes.push(await this.#store.apply(events, taken.unsaved ?? null));
      events = [];
      taken.unsaved = undefined;
    };
    for (const frame of frames) {
      if (frame.mode === 'snapshot') {
        await flush();
        await this.#takePage(frame, taken);
        continue;
      }
      if (this.#pages.length && frame.cursor !== null) throw new Error('a snapshot was begun and not finished');
      if (frame.mode === 'delta') events.push(...frame.events);
      else events.push({ ...frame, live: true });
      if (frame.cursor !== null) taken.cursor = taken.unsaved = frame.cursor;
      if (frame.mode === 'delta' && frame.done) taken.synced = 'delta';
    }
    await flush();
    return taken;
  }

  async #takePage(page, taken) {
    this.#pages.push(page);
    if (!page.done) return;
    const pages = this.#pages;
    this.#pages = [];
    if (typeof page.cursor !== 'string') throw new Error('the last page of a snapshot has no cursor');
    const pushUrls = pages.flatMap((each) => each.push_urls);
    const messages = pages.flatMap((each) => each.messages);
    taken.changes.push(await this.#store.replace(pushUrls, messages, page.cursor));
    taken.cursor = page.cursor;
    taken.synced = 'snapshot';
  }
}

/** Several changes, as one. */
function merged(changes) {
  const put = new Map();
  const gone = new Set();
  for (const change of changes) {
    for (const id of change.gone) {
      put.delete(id);
      gone.add(id);
    }
    for (const row of change.put) put.set(row.id, row);
  }
  return {
    put: [...put.values()],
    gone: [...gone].filter((id) => !put.has(id)),
    pushUrls: changes.some((change) => change.pushUrls),
    live: changes.reduce((sum, change) => sum + change.live, 0),
  };
}

const EVENTS = new Set(['sync', 'message', 'read', 'push_url', 'revoked', 'dropped']);

/** What happens on one WebSocket. Made, then `run` once. */
export class Connection {
  #socket;
  #store;
  #told;
  #intake;
  #queue = [];
  #untold = [];
  #draining = null;
  #owed = null;
  #framesOwed = 0;
  #readsSaid = new Set();
  #timers = { welcome: 0, ack: 0, quiet: 0, leave: 0 };
  #pingSeconds = 30;
  #lastError = null;
  #synced = false;
  #end;

  /** The moment (performance.now, in ms) that a `reconnect` frame named; null: none came. */
  leaveAt = null;

  /**
   * @param {import('./pushctl.js').Store} store
   * @param {{welcome: Function, change: Function, synced: Function}} told called with what happens
   */
  constructor(store, told) {
    this.#store = store;
    this.#told = told;
    this.#intake = new Intake(store);
  }

  /**
   * Until the connection is over; all that it brought is in the store then.
   * @param {string} url @param {string} token @param {?string} cursor
   * @returns {Promise<{code: number, reason: string}>} 1006: it ended without a close code
   */
  async run(url, token, cursor) {
    const ended = new Promise((resolve) => { this.#end = (code, reason) => resolve({ code, reason }); });
    try {
      this.#socket = new WebSocket(url, [SUBPROTOCOL]);
    } catch {
      return { code: NO_CODE, reason: 'not a WebSocket URL that this page may open' };
    }
    const socket = this.#socket;
    this.#timer('welcome', WELCOME_SECONDS, () => this.#end(NO_CODE, `no welcome within ${WELCOME_SECONDS} s`));
    socket.onopen = () => this.#send({ type: 'hello', token, cursor });
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onclose = (event) => this.#end(event.code, this.#reason(event));
    const how = await ended;
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    socket.onopen = socket.onmessage = socket.onclose = null;
    await this.#draining;
    this.#tell();
    this.#acknowledge();
    socket.close(1000);
    return how;
  }

  /** Leaves now. */
  close() {
    this.#end?.(1000, 'closed by this page');
  }

  /** Messages were marked read in the store: say so. */
  async sayReads() {
    if (!this.#synced) return; // after each hello all of them are said, once what was missed is known
    const ids = (await this.#store.pendingReads()).filter((id) => !this.#readsSaid.has(id));
    for (let start = 0; start < ids.length; start += READ_BATCH) {
      this.#send({ type: 'read', ids: ids.slice(start, start + READ_BATCH) });
    }
    for (const id of ids) this.#readsSaid.add(id);
  }

  /** A renewed session of this device: the older one may end. */
  sayToken(token) {
    this.#send({ type: 'token', token });
  }

  /** Is the server still there? For moments in which that is in doubt: the network came back, the machine woke up. */
  check(seconds = PONG_SECONDS) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    this.#send({ type: 'ping' });
    this.#timer('quiet', seconds, () => this.#end(NO_CODE, 'the server does not answer any more'));
  }

  #receive(text) {
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      this.#end(NO_CODE, 'the server sent what this client does not understand');
      return;
    }
    this.#timer('quiet', this.#pingSeconds, () => this.check());
    switch (frame.type) {
      case 'welcome':
        clearTimeout(this.#timers.welcome);
        this.#pingSeconds = Math.max(frame.ping_ms / 1000, LEAST_PING_SECONDS);
        this.#told.welcome(frame);
        break;
      case 'ping':
        this.#send({ type: 'pong' });
        break;
      case 'reconnect':
        this.leaveAt = performance.now() + Math.max(frame.after_ms, 0);
        this.#timer('leave', Math.max(frame.after_ms, 0) / 1000, () => this.#end(1000, 'it asked to reconnect'));
        break;
      case 'error':
        this.#lastError = frame.detail;
        break;
      default:
        if (!EVENTS.has(frame.type)) return; // of a later version of the protocol
        this.#queue.push(frame);
        this.#draining ??= this.#drain();
    }
  }

  /** All that has come is applied in one go: the store costs by transaction, not by event. */
  async #drain() {
    try {
      while (this.#queue.length) {
        const frames = this.#queue.splice(0);
        const { cursor, changes, synced } = await this.#intake.take(frames);
        if (cursor !== null) this.#owe(cursor, frames.length);
        this.#untold.push(...changes);
        if (synced || this.#synced) this.#tell();
        if (synced) await this.#onSynced(synced);
      }
    } catch (error) {
      this.#queue.length = 0;
      this.#end(NO_CODE, error.message);
    } finally {
      this.#draining = null;
    }
  }

  /** What was missed is told once all of it is here: it comes oldest first, and would move under the reader's eyes. */
  #tell() {
    if (this.#untold.length) this.#told.change(merged(this.#untold.splice(0)));
  }

  async #onSynced(mode) {
    this.#told.synced(mode);
    this.#synced = true;
    this.#readsSaid.clear();
    await this.sayReads();
  }

  #owe(cursor, frames) {
    const first = this.#owed === null;
    this.#owed = cursor;
    this.#framesOwed += frames;
    // A page in the background is given its timers late.
    if (this.#framesOwed >= ACK_FRAMES || globalThis.document?.hidden) this.#acknowledge();
    else if (first) this.#timer('ack', ACK_SECONDS, () => this.#acknowledge());
  }

  #acknowledge() {
    if (this.#owed !== null) this.#send({ type: 'ack', cursor: this.#owed });
    this.#owed = null;
    this.#framesOwed = 0;
  }

  #send(frame) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
  }

  #timer(name, seconds, then) {
    clearTimeout(this.#timers[name]);
    this.#timers[name] = setTimeout(then, seconds * 1000);
  }

  #reason(event) {
    const said = this.#lastError ?? event.reason;
    return said || (event.code === NO_CODE ? 'the connection broke' : `closed with ${event.code}`);
  }
}
