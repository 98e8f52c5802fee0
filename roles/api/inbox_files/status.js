// The connection: in one word at the top, in full in a dialog.
//
// Owns: #connection, #status, #banner. Must not know: how a connection is had.

import { duration, timeOfDay } from './words.js';

const pill = document.querySelector('#connection');
const word = document.querySelector('#phase');
const dialog = document.querySelector('#status');
const banner = document.querySelector('#banner');
const again = document.querySelector('#again');

const WORDS = {
  off: 'Not connected', asking: 'Connecting', connecting: 'Connecting', connected: 'Connected', waiting: 'Waiting',
  stopped: 'Not connected',
};
/** A short interruption is not worth a line that moves everything. */
const BANNER_MS = 3000;

export class StatusView {
  #status;
  #timer = 0;
  #bannerTimer = 0;

  /** @param {import('./pushctl.js').Client} client @param {() => void} check look for messages without a connection */
  constructor(client, check) {
    this.#status = client.status;
    pill.addEventListener('click', () => {
      dialog.showModal();
      this.#tick();
    });
    dialog.addEventListener('close', () => clearInterval(this.#timer));
    again.addEventListener('click', () => {
      if (this.#status.phase === 'waiting') client.retryNow();
      else client.start();
      check(this.#status);
    });
    client.addEventListener('status', ({ detail }) => this.#show(detail));
    for (const kind of ['online', 'offline']) addEventListener(kind, () => this.#show(this.#status));
    this.#show(this.#status);
  }

  #show(status) {
    this.#status = status;
    document.body.dataset.phase = status.phase;
    word.textContent = this.#word();
    this.#draw();
    this.#drawBanner();
  }

  #drawBanner() {
    const { phase, login } = this.#status;
    if (['connected', 'off'].includes(phase) || login) {
      clearTimeout(this.#bannerTimer);
      this.#bannerTimer = 0;
      banner.hidden = true;
    } else if (phase === 'stopped' || !banner.hidden) this.#say();
    else this.#bannerTimer ||= setTimeout(() => this.#say(), BANNER_MS);
  }

  #word() {
    const { phase, server } = this.#status;
    if (phase === 'connected') return `Connected · ${server}`;
    return navigator.onLine || phase === 'stopped' ? WORDS[phase] : 'Offline';
  }

  #say() {
    const { phase, reason } = this.#status;
    const why = reason ? ` ${reason}.` : '';
    const now = navigator.onLine ? 'Not connected; trying again.' : 'You are offline.';
    banner.textContent = phase === 'stopped'
      ? `Not connected, and not trying any more.${why} Open “Not connected” above to try once more.`
      : `${now} What is here stays, and what you read now is told later.`;
    banner.hidden = false;
  }

  #tick() {
    clearInterval(this.#timer);
    this.#draw();
    this.#timer = setInterval(() => this.#draw(), 1000);
  }

  #draw() {
    if (!dialog.open) return;
    const { url, boxOffice, nextAt, reason, phase } = this.#status;
    const put = (id, text) => { document.querySelector(id).textContent = text; };
    put('#status-now', `${this.#word()}.`);
    put('#status-server', url ?? 'none');
    const named = boxOffice?.servers.length ? `: ${boxOffice.servers.join(', ')}` : '';
    put('#status-office', boxOffice ? `${timeOfDay(boxOffice.at)}: ${boxOffice.said}${named}` : 'not asked yet');
    const none = phase === 'stopped' ? 'none' : 'none needed';
    put('#status-next', nextAt === null ? none : `in ${duration(nextAt - Date.now())}`);
    put('#status-reason', reason ?? 'none');
    again.hidden = !['waiting', 'stopped', 'off'].includes(phase);
  }
}
