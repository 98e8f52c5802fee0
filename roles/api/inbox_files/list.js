// The messages: one article each, newest first, unread or read.
//
// Owns: the feed, which rows it shows, focus within it. Promises: however many messages there are, the page stays
// responsive: rows are made a few in each frame, and each is laid out by itself (style.css). Where a row goes that has
// the focus, the next one gets it. Must not know: where messages come from, who is told that one was read.

import { icons, showIcon } from './icon.js';
import { webUrl } from './safe.js';
import { newestFirst } from './store.js';
import { age, called, counted, exactly } from './words.js';

const ROWS_PER_FRAME = 25;
const LONG_CHARACTERS = 320; // of four lines
const LEAVE_MS = 160;
const AGE_MS = 20_000;

const feed = document.querySelector('#feed');
const template = document.querySelector('#message');
const still = matchMedia('(prefers-reduced-motion: reduce)');

/** The feed. `read` is called with ids that a person has read; `counts` with how many rows are unread and read. */
export class MessageList {
  #rows = new Map();
  #shown = 'unread';
  #elements = new Map();
  #order = [];
  #iconOfPushUrl = new Map();
  #remoteIcons = false;
  #work = Promise.resolve();
  #read;
  #counts;

  /** @param {{read: (ids: string[]) => void, counts: (unread: number, read: number) => void}} told */
  constructor({ read, counts }) {
    this.#read = read;
    this.#counts = counts;
    feed.addEventListener('click', (event) => this.#clicked(event));
    feed.addEventListener('keydown', (event) => this.#pressed(event));
    feed.addEventListener('focusin', (event) => this.#focused(event.target.closest('.message')));
    setInterval(() => this.#tick(), AGE_MS);
    document.addEventListener('visibilitychange', () => this.#tick()); // in the background timers come late
  }

  /** All that is unread, newest first. @returns {string[]} */
  get unread() {
    return [...this.#rows.values()].filter((row) => row.state === 'unread').map((row) => row.id);
  }

  get shown() {
    return this.#shown;
  }

  /** Shows "unread" or "read" ones. */
  show(which) {
    this.#shown = which;
    feed.setAttribute('aria-label', which === 'unread' ? 'Unread messages' : 'Read messages');
    this.#again(() => this.#rebuild());
  }

  /** Push URLs changed, or which icons may be loaded. @param {Map<string, ?string>} iconOf by id of a push URL */
  setIcons(iconOf) {
    const before = this.#iconOfPushUrl;
    const others = icons.remote !== this.#remoteIcons;
    this.#iconOfPushUrl = iconOf;
    this.#remoteIcons = icons.remote;
    for (const row of this.#order) {
      const id = row.message.push_url;
      if (others || before.get(id) !== iconOf.get(id)) this.#drawIcon(this.#elements.get(row.id), row);
    }
  }

  /** What is new in the store. @param {{put: import('./pushctl.js').Row[], gone: string[]}} change */
  change({ put, gone }) {
    for (const id of gone) this.#rows.delete(id);
    for (const row of put) this.#rows.set(row.id, row);
    this.#count();
    this.#again(() => this.#update(put, gone));
  }

  /** Everything anew. @param {import('./pushctl.js').Row[]} rows */
  reset(rows) {
    this.#rows = new Map(rows.map((row) => [row.id, row]));
    this.#count();
    this.#again(() => this.#rebuild());
  }

  /** Once all that was said is on the screen. */
  get settled() {
    return this.#work;
  }

  #count() {
    const unread = this.unread.length;
    this.#counts(unread, this.#rows.size - unread);
  }

  /** One piece of work after the other. */
  #again(work) {
    feed.setAttribute('aria-busy', 'true');
    const mine = this.#work.then(work).catch((error) => console.error(error)).then(() => {
      if (this.#work === mine) feed.setAttribute('aria-busy', 'false');
    });
    this.#work = mine;
  }

  #belongs(row) {
    return row !== undefined && (row.state === 'unread') === (this.#shown === 'unread');
  }

  async #rebuild() {
    this.#elements.clear();
    this.#order = [];
    feed.replaceChildren();
    await this.#insert([...this.#rows.values()].filter((row) => this.#belongs(row)));
  }

  async #update(put, gone) {
    const leaving = [...gone, ...put.map((row) => row.id)].filter((id) => !this.#belongs(this.#rows.get(id)));
    this.#remove(leaving.filter((id) => this.#elements.has(id)));
    await this.#insert(put.filter((row) => this.#belongs(this.#rows.get(row.id)) && !this.#elements.has(row.id)));
  }

  async #insert(rows) {
    const sorted = rows.sort(newestFirst);
    for (let start = 0; start < sorted.length; start += ROWS_PER_FRAME) {
      if (start > 0) await nextFrame();
      for (const row of sorted.slice(start, start + ROWS_PER_FRAME)) this.#place(row);
    }
    this.#keepOneReachable();
  }

  #place(row) {
    if (this.#elements.has(row.id) || !this.#belongs(this.#rows.get(row.id))) return; // changed since
    let [low, high] = [0, this.#order.length];
    if (high && newestFirst(row, this.#order[high - 1]) > 0) low = high;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (newestFirst(row, this.#order[middle]) < 0) high = middle;
      else low = middle + 1;
    }
    const next = this.#order[low];
    const element = this.#make(row);
    feed.insertBefore(element, next ? this.#elements.get(next.id) : null);
    this.#order.splice(low, 0, row);
    this.#elements.set(row.id, element);
  }

  #make(row) {
    const { message, id, state } = row;
    const element = template.content.firstElementChild.cloneNode(true);
    const part = (selector) => element.querySelector(selector);
    const { title, body } = texts(message);
    element.dataset.id = id;
    element.dataset.urgency = message.urgency;
    part('.site').textContent = called(message.site);
    part('.urgency').textContent = { high: 'urgent', low: 'low', 'very-low': 'very low' }[message.urgency] ?? '';
    const sent = Date.parse(message.sent_at);
    part('time').dateTime = message.sent_at;
    part('time').title = exactly(sent);
    part('time').textContent = age(sent, Date.now());
    part('h3').textContent = title;
    part('h3').classList.toggle('untitled', !message.notification?.title);
    part('h3').id = `title-${id}`;
    element.setAttribute('aria-labelledby', `title-${id}`);
    part('.body').textContent = body;
    part('.body').hidden = body === '';
    part('.whole').hidden = !isLong(body, 4) && !isLong(title, 2);
    part('.whole').setAttribute('aria-label', `Show all of ${short(title)}`);
    const url = webUrl(message.notification?.url);
    if (url) {
      part('a').href = url.href;
      part('a').textContent = `Open ${url.host}`;
      part('a').hidden = false;
    }
    part('.read').hidden = state !== 'unread';
    part('.read').setAttribute('aria-label', `Mark as read: ${short(title)}`);
    part('.read').title = 'Mark as read';
    this.#drawIcon(element, row);
    return element;
  }

  #drawIcon(element, row) {
    const { message } = row;
    const wanted = [message.notification?.icon, this.#iconOfPushUrl.get(message.push_url)];
    showIcon(element.querySelector('.icon'), message.site, wanted);
  }

  #remove(ids) {
    const leaving = ids.map((id) => this.#elements.get(id));
    const focused = leaving.find((element) => element.contains(document.activeElement));
    const gone = new Set(ids);
    if (focused) this.#passFocus(focused, gone);
    for (const id of ids) this.#elements.delete(id);
    this.#order = this.#order.filter((row) => !gone.has(row.id));
    for (const element of leaving) leave(element, leaving.length === 1);
    this.#keepOneReachable();
  }

  /** To the next row that stays, or the one before, or to where the feed was. */
  #passFocus(element, gone) {
    const stays = (other) => !gone.has(other.dataset.id) && this.#elements.has(other.dataset.id);
    let [after, before] = [element.nextElementSibling, element.previousElementSibling];
    while (after && !stays(after)) after = after.nextElementSibling;
    while (before && !stays(before)) before = before.previousElementSibling;
    (after ?? before ?? document.querySelector('#main')).focus({ preventScroll: true });
  }

  // --- what a person does ----------------------------------------------------------------------------------------

  #clicked(event) {
    const element = event.target.closest('.message');
    if (!element) return;
    if (event.target.closest('.whole')) {
      element.classList.add('open');
      event.target.hidden = true;
      element.focus();
    } else if (getSelection()?.isCollapsed !== false || event.target.closest('button, a')) {
      this.#markRead(element); // a click that selected some text means the text
    }
  }

  #pressed(event) {
    const element = event.target.closest('.message');
    const steps = { ArrowDown: 'nextElementSibling', ArrowUp: 'previousElementSibling' };
    if (event.key in steps) {
      event.preventDefault();
      element?.[steps[event.key]]?.focus();
    } else if (['Home', 'End'].includes(event.key)) {
      event.preventDefault();
      (event.key === 'Home' ? feed.firstElementChild : feed.lastElementChild)?.focus();
    } else if (event.target === element && ['Enter', ' '].includes(event.key)) {
      event.preventDefault();
      this.#markRead(element);
    }
  }

  #markRead(element) {
    const row = this.#rows.get(element.dataset.id);
    if (row?.state === 'unread') this.#read([row.id]);
  }

  /** Of all rows one is reached by Tab, with its buttons; the arrows go to the others. */
  #focused(element) {
    if (!element) return;
    for (const other of feed.querySelectorAll('[tabindex="0"]')) if (!element.contains(other)) other.tabIndex = -1;
    for (const each of [element, ...element.querySelectorAll('button, a')]) each.tabIndex = 0;
  }

  #keepOneReachable() {
    if (!feed.contains(document.activeElement)) this.#focused(feed.querySelector('.message:not([inert])'));
  }

  #tick() {
    const now = Date.now();
    const expired = [...this.#rows.values()].filter((row) => row.keepUntil <= now).map((row) => row.id);
    if (expired.length) this.change({ put: [], gone: expired }); // nobody tells: each device has the moment
    for (const row of this.#order) {
      const time = this.#elements.get(row.id)?.querySelector('time');
      const text = age(Date.parse(row.message.sent_at), now);
      if (time && time.textContent !== text) time.textContent = text;
    }
  }
}

/** What a message says, as text. What has no title is its own. @returns {{title: string, body: string}} */
export function texts(message) {
  const { title, body } = message.notification ?? {};
  if (title) return { title, body: body ?? '' };
  if (body) return { title: body, body: '' };
  if (message.data === null) return { title: 'Something is new there; the site did not say what.', body: '' };
  return { title: 'Encrypted for another device or browser: this page has no key for it.', body: '' };
}

/** For the live region: what came just now. @param {import('./pushctl.js').Row[]} rows */
export function announcement(rows) {
  const { message } = [...rows].sort(newestFirst)[0];
  const { title, body } = texts(message);
  const latest = `${called(message.site)}: ${title}${body && rows.length === 1 ? `. ${body.slice(0, 200)}` : ''}`;
  return rows.length === 1 ? latest : `${counted(rows.length, 'new message')}, the latest from ${latest}`;
}

/** Whether it may need more than so many lines. */
function isLong(text, lines) {
  return text.length > LONG_CHARACTERS / 4 * lines || text.split('\n', lines + 1).length > lines;
}

function short(text) {
  return text.length > 80 ? `${text.slice(0, 79)}…` : text;
}

function leave(element, animated) {
  if (!animated || still.matches || !element.checkVisibility?.()) {
    element.remove();
    return;
  }
  element.inert = true;
  const height = `${element.offsetHeight}px`;
  const frames = [{ opacity: 1, height }, { opacity: 0, height: '0px', paddingBlock: '0px' }];
  element.style.overflow = 'hidden';
  const gone = () => element.remove();
  element.animate(frames, { duration: LEAVE_MS, easing: 'ease-out' }).finished.then(gone, gone);
}

function nextFrame() {
  // A page in the background has no frames.
  return new Promise((resolve) => {
    if (document.hidden) setTimeout(resolve);
    else requestAnimationFrame(() => setTimeout(resolve));
  });
}
