// What one device knows, in IndexedDB: its session, push URLs with icons, messages with their read state, its cursor.
//
// Owns: the database of a profile, and its transactions. It is a Store of pushctl.js.
// Promises: what an event changes and the cursor behind it are written in one transaction, so whatever moment the
// browser dies at, the cursor never claims more than what is here; applying the same thing again changes nothing; a
// message read here stays `pending` until the service confirms it, over restarts.
// Must not know: sockets, HTTP, who shows it.

const VERSION = 1;
const STORES = { state: 'name', pushUrls: 'id', messages: 'id' };
const DAY_MS = 86_400_000;

/** Read messages are kept until they expire, but not more than so many. */
const MOST_READ = 200;

/** Opens the database of this name, or makes it. `gone` is called once it was deleted or closed under the page. */
export async function openStore(name, gone = () => {}) {
  const opening = indexedDB.open(name, VERSION);
  opening.onupgradeneeded = () => {
    for (const [store, keyPath] of Object.entries(STORES)) opening.result.createObjectStore(store, { keyPath });
  };
  const database = await answer(opening);
  database.onclose = gone;
  database.onversionchange = () => {
    database.close();
    gone();
  };
  return new Store(database);
}

class Store {
  #database;

  constructor(database) {
    this.#database = database;
  }

  close() {
    this.#database.close();
  }

  // --- session ---------------------------------------------------------------------------------------------------

  async session() {
    return (await this.#state('session')) ?? null;
  }

  async deviceOf(account) {
    const device = await this.#state('device');
    return device?.account === account ? device.id : null;
  }

  async beginSession(session) {
    await this.#change(async (write) => {
      const before = (await answer(write.state.get('device')))?.value;
      if (before?.user !== session.user) forget(write);
      write.state.put({ name: 'session', value: session });
      write.state.put({ name: 'device', value: { id: session.device, user: session.user, account: session.account } });
    });
  }

  async endSession() {
    await this.#change((write) => {
      write.state.delete('session');
      forget(write);
    });
  }

  async forgetDevice() {
    await this.#change((write) => {
      write.state.delete('session');
      write.state.delete('device');
      forget(write);
    });
  }

  // --- what is here ----------------------------------------------------------------------------------------------

  async cursor() {
    return (await this.#state('cursor')) ?? null;
  }

  /** A setting of the page, undefined where it was never set. */
  async setting(name) {
    return this.#state(`setting:${name}`);
  }

  async setSetting(name, value) {
    await this.#change((write) => write.state.put({ name: `setting:${name}`, value }));
  }

  /** Oldest first. */
  async pushUrls() {
    const found = await answer(this.#database.transaction('pushUrls').objectStore('pushUrls').getAll());
    return found.sort((one, other) => compare(one.created_at, other.created_at));
  }

  /** Those that have not expired, newest first. */
  async rows() {
    const found = await this.#rows();
    const now = Date.now();
    return found.filter((row) => row.keepUntil > now).sort(newestFirst);
  }

  async pendingReads() {
    const now = Date.now();
    return (await this.#rows()).filter((row) => row.state === 'pending' && row.keepUntil > now).map((row) => row.id);
  }

  // --- what changes ----------------------------------------------------------------------------------------------

  async apply(events, cursor) {
    return this.#change(async (write, change) => {
      for (const event of events) await applyEvent(write, event, change);
      if (cursor !== null) write.state.put({ name: 'cursor', value: cursor });
    });
  }

  /** A snapshot. What is not in it goes; what was read here stays, as history. */
  async replace(pushUrls, messages, cursor) {
    return this.#change(async (write, change) => {
      change.pushUrls = true;
      write.pushUrls.clear();
      for (const pushUrl of pushUrls) write.pushUrls.put(pushUrl);
      const due = new Set(messages.map((message) => message.id));
      for (const row of await answer(write.messages.getAll())) {
        if (isExpired(row) || (row.state !== 'read' && !row.ephemeral && !due.has(row.id))) drop(write, row.id, change);
        // Unread again for the service though it was confirmed: its registry lost the read. Say it again.
        else if (row.state === 'read' && due.has(row.id)) keep(write, { ...row, state: 'pending' }, change);
      }
      for (const message of messages) await applyEvent(write, { type: 'message', cursor, message }, change);
      write.state.put({ name: 'cursor', value: cursor });
    });
  }

  async markRead(ids) {
    return this.#setRead(ids, (row) => row.state === 'unread', (row) => (row.ephemeral ? 'read' : 'pending'));
  }

  async confirmRead(ids) {
    return this.#setRead(ids, (row) => row.state !== 'read', () => 'read');
  }

  async putPushUrl(pushUrl) {
    return this.#change((write, change) => {
      write.pushUrls.put(pushUrl);
      change.pushUrls = true;
    });
  }

  async removePushUrl(id) {
    return this.#change((write, change) => {
      write.pushUrls.delete(id);
      change.pushUrls = true;
    });
  }

  /** Throws away what nobody will look at any more. */
  async tidy() {
    return this.#change(async (write, change) => {
      const rows = await answer(write.messages.getAll());
      const read = rows.filter((row) => row.state === 'read').sort(newestFirst);
      const gone = new Set([...read.slice(MOST_READ), ...rows.filter(isExpired)]);
      for (const row of gone) drop(write, row.id, change);
    });
  }

  // --- inside ----------------------------------------------------------------------------------------------------

  async #state(name) {
    return (await answer(this.#database.transaction('state').objectStore('state').get(name)))?.value;
  }

  async #rows() {
    return answer(this.#database.transaction('messages').objectStore('messages').getAll());
  }

  async #setRead(ids, applies, state) {
    return this.#change(async (write, change) => {
      const rows = await Promise.all(ids.map((id) => answer(write.messages.get(id))));
      for (const row of rows) if (row && applies(row)) keep(write, { ...row, state: state(row) }, change);
    });
  }

  /** One transaction over everything; what it changed, once that is on its way to the disk. All of it or nothing. */
  async #change(work) {
    const transaction = this.#database.transaction(Object.keys(STORES), 'readwrite');
    const done = new Promise((resolve, reject) => {
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error ?? new Error('this browser did not keep it'));
    });
    done.catch(() => {}); // it is waited for below, unless the work failed
    const change = { put: [], gone: [], pushUrls: false, live: 0 };
    const stores = Object.keys(STORES).map((name) => [name, transaction.objectStore(name)]);
    try {
      await work(Object.fromEntries(stores), change);
    } catch (error) {
      if (transaction.error === null) transaction.abort();
      throw error;
    }
    await done;
    return change;
  }
}

/** What one event does. Doing it again changes nothing. */
async function applyEvent(write, event, change) {
  switch (event.type) {
    case 'message':
      await putMessage(write, event, change);
      break;
    case 'read':
      for (const id of event.ids) {
        const row = await answer(write.messages.get(id));
        if (row && row.state !== 'read') keep(write, { ...row, state: 'read' }, change);
      }
      break;
    case 'dropped':
      for (const id of event.ids) drop(write, id, change);
      break;
    case 'push_url':
      write.pushUrls.put(event.push_url);
      change.pushUrls = true;
      break;
    case 'revoked':
      write.pushUrls.delete(event.id);
      change.pushUrls = true;
      break;
    default: // of a later version of the protocol
  }
}

async function putMessage(write, { message, cursor, live }, change) {
  if ((await answer(write.messages.getKey(message.id))) !== undefined) return;
  const now = Date.now();
  // A message with TTL 0 expires as it is sent; here it stays until it is read, for a day at most.
  const ephemeral = Boolean(live) && cursor === null;
  const keepUntil = ephemeral ? now + DAY_MS : Date.parse(message.expires_at);
  if (Number.isNaN(keepUntil)) throw new Error('the server sent a moment that is none');
  keep(write, { id: message.id, message, state: 'unread', receivedAt: now, keepUntil, ephemeral }, change);
  if (live) change.live += 1;
}

function keep(write, row, change) {
  write.messages.put(row);
  change.put.push(row);
}

function forget({ state, pushUrls, messages }) {
  state.delete('cursor');
  pushUrls.clear();
  messages.clear();
}

function drop(write, id, change) {
  write.messages.delete(id);
  change.gone.push(id);
}

/** A day late, so that a clock that is a little off takes nothing away. */
function isExpired(row) {
  return row.keepUntil < Date.now() - DAY_MS;
}

export function newestFirst(one, other) {
  return compare(other.message.sent_at, one.message.sent_at) || compare(other.id, one.id);
}

function compare(one, other) {
  return one < other ? -1 : Number(one > other);
}

/** What a request of IndexedDB comes to. */
function answer(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
