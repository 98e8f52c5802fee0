// Be a site: a form that POSTs to one of one's own push URLs, and the curl line that does the same.
//
// Owns: the section #try. Promises: the curl line is that very request, quoted for a shell. Must not know: the inbox.

import { refusal } from './pushctl.js';
import { copy } from './sites.js';
import { called } from './words.js';

const MOST_HEARD = 20;

const section = document.querySelector('#try');
const form = document.querySelector('#send');
const line = document.querySelector('#curl');
const said = document.querySelector('#sent');

export class TryIt {
  #urls = new Map();
  #sent = null;
  #heard = [];

  /** @param {(text: string) => void} say for screen readers */
  constructor(say) {
    form.addEventListener('input', () => this.#draw());
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#send();
    });
    const button = document.querySelector('#copy-curl');
    button.addEventListener('click', () => copy(button, line.textContent, say));
  }

  /** @param {import('./pushctl.js').PushUrl[]} pushUrls */
  show(pushUrls) {
    section.hidden = pushUrls.length === 0;
    const chosen = form.elements.to.value;
    this.#urls = new Map(pushUrls.map((each) => [each.id, each.url]));
    form.elements.to.replaceChildren(...pushUrls.map(({ id, site }) => new Option(called(site), id)));
    if (this.#urls.has(chosen)) form.elements.to.value = chosen;
    this.#draw();
  }

  focus() {
    form.elements.title.focus();
  }

  /** These messages came: the one that was sent may be among them. @param {string[]} ids */
  hear(ids) {
    const at = performance.now();
    this.#heard = [...this.#heard, ...ids.map((id) => ({ id, at }))].slice(-MOST_HEARD);
    this.#match();
  }

  /** A message may be here before the answer to who sent it is. */
  #match() {
    const came = this.#heard.find(({ id }) => id === this.#sent?.id);
    if (!came) return;
    said.textContent = `${this.#sent.text} It was here ${Math.round(came.at - this.#sent.at)} ms later.`;
    this.#sent = null;
  }

  #request() {
    const { to, title, body, urgency, ttl } = form.elements;
    const notification = {};
    if (title.value) notification.title = title.value;
    if (body.value) notification.body = body.value;
    const empty = Object.keys(notification).length === 0;
    const headers = { TTL: ttl.value, Urgency: urgency.value };
    if (!empty) headers['Content-Type'] = 'application/json';
    return { url: this.#urls.get(to.value) ?? '', headers, body: empty ? undefined : JSON.stringify(notification) };
  }

  #draw() {
    const { url, headers, body } = this.#request();
    const parts = ['curl -X POST'];
    for (const [name, value] of Object.entries(headers)) parts.push(`-H ${quoted(`${name}: ${value}`)}`);
    if (body !== undefined) parts.push(`-d ${quoted(body)}`);
    line.textContent = [...parts, quoted(url)].join(' \\\n  ');
  }

  async #send() {
    const { url, headers, body } = this.#request();
    const at = performance.now();
    said.textContent = 'Sending…';
    try {
      const answer = await fetch(url, {
        method: 'POST', headers, body, credentials: 'omit', redirect: 'error', referrerPolicy: 'no-referrer',
      });
      if (!answer.ok) throw await refusal(answer);
      const id = answer.headers.get('Location')?.split('/').pop();
      const text = headers.TTL === '0' ? 'Handed on, if anybody is there: 201.' : 'Stored: 201.';
      said.textContent = text;
      this.#sent = { id, at, text };
      this.#match();
    } catch (problem) {
      const refused = `Refused with ${problem.status}: ${problem.message}.`;
      said.textContent = problem.status ? refused : 'The service cannot be reached.';
    }
  }
}

/** One word for a POSIX shell. */
function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
