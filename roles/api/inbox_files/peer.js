// Staying connected: what a client does next (docs/protocol.md, sections 3 and 4).
//
// Owns: which socket server to try, when to ask the Box Office again, when to give up for good.
// Promises: a server is tried at most once per answer of the Box Office, in the order given; waits grow exponentially
// with full jitter (base 1 s, cap 5 min), and jitter only ever adds to what a server asked for; the growth starts over
// only after a connection that lasted; after "stop" nothing more is tried.
// Must not know: sockets, HTTP, clocks, storage. It is told what happened and when (`now`: seconds of any clock that
// only goes forward) and answers with one step. It decides as pushctl/protocol/peer.py does; a test holds it to that.

const BASE_SECONDS = 1;
const CAP_SECONDS = 300;

// A connection that lasted this long was a good one: the next wait is short again.
const STABLE_SECONDS = 30;

// After 4503 (another connection of this device took over) one more try; a second one within so long is final.
const REPLACED_SECONDS = [30, 60];
const REPLACED_AGAIN_SECONDS = 600;

// More than this is taken for a mistake: a device must not go silent for good because of one header.
const LONGEST_RETRY_AFTER_SECONDS = 86_400;

const LOGIN_NEEDED = new Set([4501, 4504]);
const REPLACED = 4503;
const WORTH_REPEATING = new Set([408, 425, 429]);
const FINAL_REASONS = {
  4502: 'the server could not understand this client',
  4505: 'this user or address has too many connections',
};

/**
 * What to do now. `ask`: wait `after` seconds, then ask the Box Office, and connect to nothing until then; `asked`: how
 * much of it the service asked for. `try`: connect to `url`. `stop`: nothing gets better without a change; `login`: by
 * a new log-in.
 * @typedef {{do: 'ask', after: number, asked: number}
 *   | {do: 'try', url: string}
 *   | {do: 'stop', code: number, reason: string, login: boolean}} Step
 */

/** One device looking for its place. Feed it what happens; do what it says. */
export class Peer {
  #random;
  #failures = 0;
  #offer = [];
  #untried = [];
  #trying = null;
  #offerEnds = 0;
  #heldUntil = new Map();
  #welcomedAt = null;
  #returnAt = null;
  #replacedAt = null;

  /** @param {() => number} random a number in [0, 1), new at each call */
  constructor(random = Math.random) {
    this.#random = random;
  }

  /** The first step, and the first after a new log-in. @returns {Step} */
  start() {
    this.#failures = 0;
    this.#forgetOffer();
    this.#welcomedAt = this.#returnAt = this.#replacedAt = null;
    return ask(0);
  }

  /** The Box Office named these servers, in this order, good for so long. @returns {Step} */
  offered(servers, expiresInSeconds, now) {
    for (const [url, until] of this.#heldUntil) if (until <= now) this.#heldUntil.delete(url);
    this.#offer = [...new Set(servers)];
    this.#untried = [...this.#offer];
    this.#offerEnds = now + expiresInSeconds;
    return this.#nextServer(now);
  }

  /** The Box Office answered with something that is no list (503 without capacity, 429, 401). @returns {Step} */
  boxOfficeRefused(status, retryAfterSeconds) {
    this.#forgetOffer();
    if (status === 401) return stop(status, 'the session is not valid any more', true);
    if (status >= 300 && status < 500 && !WORTH_REPEATING.has(status)) {
      return stop(status, `the Box Office answered ${status}: is its URL right?`);
    }
    return ask(obeyed(retryAfterSeconds), this.#backoff());
  }

  /** No connection to the Box Office, no answer in time, or one that made no sense. @returns {Step} */
  boxOfficeUnreachable() {
    this.#forgetOffer();
    return ask(0, this.#backoff());
  }

  /**
   * The server last tried did not say welcome. (A browser does not tell a page the Retry-After of a refused WebSocket;
   * other clients give it.)
   * @returns {Step}
   */
  serverFailed(now, retryAfterSeconds = null) {
    this.#returnAt = null;
    if (retryAfterSeconds !== null && this.#trying !== null) {
      this.#heldUntil.set(this.#trying, now + obeyed(retryAfterSeconds));
    }
    return this.#nextServer(now);
  }

  /** The server said welcome. */
  welcomed(now) {
    this.#forgetOffer();
    this.#welcomedAt = now;
  }

  /** A `reconnect` frame: the connection may be used until `afterSeconds` have passed, then it is to be left. */
  reconnectAsked(afterSeconds, now) {
    this.#returnAt = now + obeyed(afterSeconds);
  }

  /** The connection is over, with this close code (1006: none), whether or not it was welcomed. @returns {Step} */
  closed(code, now) {
    const [welcomedAt, returnAt] = [this.#welcomedAt, this.#returnAt];
    this.#welcomedAt = this.#returnAt = null;
    const lasted = welcomedAt !== null && now - welcomedAt >= STABLE_SECONDS;
    if (lasted) this.#failures = 0;
    if (LOGIN_NEEDED.has(code)) return this.#stop(code, 'the session ended or is not known', true);
    if (code === REPLACED) return this.#replaced(now);
    if (code >= 4500 && code <= 4999) {
      return this.#stop(code, FINAL_REASONS[code] ?? 'the server asks not to come back without a change');
    }
    if (returnAt === null) return welcomedAt === null ? this.#nextServer(now) : ask(0, this.#backoff());
    // The server chose the moment, spread over its devices, so a good connection needs no jitter of our own; one that
    // had hardly begun does, or a server that sends everybody away at once would keep us in a tight circle.
    return ask(Math.max(0, returnAt - now), lasted ? 0 : this.#backoff());
  }

  /** @returns {Step} */
  #nextServer(now) {
    while (this.#untried.length && now < this.#offerEnds) {
      const url = this.#untried.shift();
      if ((this.#heldUntil.get(url) ?? now) <= now) {
        this.#trying = url;
        return { do: 'try', url };
      }
    }
    const held = this.#offer.map((url) => (this.#heldUntil.get(url) ?? now) - now).filter((seconds) => seconds > 0);
    const everyoneIsFull = held.length > 0 && held.length === this.#offer.length;
    this.#forgetOffer();
    return ask(everyoneIsFull ? Math.min(...held) : 0, this.#backoff());
  }

  /** @returns {Step} */
  #replaced(now) {
    const before = this.#replacedAt;
    this.#replacedAt = now;
    if (before !== null && now - before < REPLACED_AGAIN_SECONDS) {
      return this.#stop(REPLACED, 'another connection of this device took over, twice');
    }
    this.#forgetOffer();
    const [least, most] = REPLACED_SECONDS;
    return ask(least + (most - least) * this.#random());
  }

  /** @returns {Step} */
  #stop(code, reason, login = false) {
    this.#forgetOffer();
    return stop(code, reason, login);
  }

  #forgetOffer() {
    this.#offer = [];
    this.#untried = [];
    this.#trying = null;
  }

  /** Anywhere between nothing and a ceiling that doubles with each failure. */
  #backoff() {
    const ceiling = Math.min(CAP_SECONDS, BASE_SECONDS * 2 ** Math.min(this.#failures, 16));
    this.#failures += 1;
    return ceiling * this.#random();
  }
}

/** @returns {Step} */
function ask(asked, more = 0) {
  return { do: 'ask', after: asked + more, asked };
}

/** @returns {Step} */
function stop(code, reason, login = false) {
  return { do: 'stop', code, reason, login };
}

function obeyed(seconds) {
  return Math.min(Math.max(seconds ?? 0, 0), LONGEST_RETRY_AFTER_SECONDS);
}
