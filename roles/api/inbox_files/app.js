// The page: puts its parts together, and says what happens.
//
// Owns: the order of starting (profile, store, session, connection), which part of the page is shown, the title and the
// live region. Must not know: what the parts do.

import { Account } from './account.js';
import { MessageList, announcement } from './list.js';
import { takeRedirect } from './login.js';
import { takeProfile } from './profile.js';
import { Client, request } from './pushctl.js';
import { SignIn, deviceNameFor } from './signin.js';
import { Sites, askPerson } from './sites.js';
import { StatusView } from './status.js';
import { openStore } from './store.js';
import { TryIt } from './try.js';
import { counted } from './words.js';

const NEWS_MS = 800;
const find = (selector) => document.querySelector(selector);

/** The one URL that this page makes into a script, for browsers with Trusted Types. */
function workerUrl() {
  const policy = globalThis.trustedTypes?.createPolicy('inbox', { createScriptURL: () => 'worker.js' });
  return policy ? policy.createScriptURL('') : 'worker.js';
}

/** For screen readers: what a person did. */
function say(text) {
  find('#said').textContent = text;
}

function trouble(text) {
  find('#trouble').textContent = text;
}

/** What the page must know; the last answer of before, where the service cannot be reached. */
async function configFrom(store) {
  try {
    const config = await request(new URL('config.json', location).href);
    await store.setSetting('config', config);
    return config;
  } catch (error) {
    const kept = await store.setting('config');
    if (kept) return kept;
    throw error;
  }
}

class Page {
  #news = [];
  #newsTimer = 0;
  #scrolledNews = 0;

  constructor({ config, store, profile }) {
    this.store = store;
    this.client = new Client({ api: config.api, boxoffice: config.boxoffice, store, ask: askPerson });
    this.list = new MessageList({
      read: (ids) => this.#attempt(() => this.client.markRead(ids)),
      counts: (unread, read) => this.#counts(unread, read),
    });
    this.sites = new Sites(this.client, say);
    this.tryIt = new TryIt(say);
    this.account = new Account(this.client, {
      store, iconsChanged: () => this.#showSites(), out: (everywhere) => this.#logOut(everywhere),
    });
    this.signIn = new SignIn(config, (proof, name) => this.#logIn(proof, name), deviceNameFor(profile));
    this.status = new StatusView(this.client, ({ phase }) => {
      if (phase === 'stopped') this.#attempt(() => this.client.sync()); // without a connection, if need be
    });
    this.client.addEventListener('change', ({ detail }) => this.#changed(detail));
    this.client.addEventListener('synced', () => this.#nowKnown());
    this.client.addEventListener('status', ({ detail }) => {
      if (detail.login) this.#signedOut(detail.reason);
      else if (['waiting', 'stopped'].includes(detail.phase)) this.#nowKnown();
    });
    this.#listen();
  }

  async start() {
    await this.account.restore(this.store);
    const redirect = takeRedirect();
    if (await this.store.session()) await this.#signedIn();
    else if (redirect) await this.signIn.finish(redirect);
    else this.#signedOut();
  }

  #listen() {
    for (const kind of ['online', 'offline', 'pageshow']) addEventListener(kind, () => this.client.wake());
    document.addEventListener('visibilitychange', () => document.hidden || this.client.wake());
    find('#clear').addEventListener('click', () => {
      const ids = this.list.unread;
      this.#attempt(() => this.client.markRead(ids));
      say(`${counted(ids.length, 'message')} marked as read`);
    });
    for (const button of document.querySelectorAll('[data-show]')) {
      button.addEventListener('click', () => this.#show(button.dataset.show));
    }
    for (const button of document.querySelectorAll('[data-to]')) {
      button.addEventListener('click', () => this.#goTo(button.dataset.to));
    }
    find('#newer').addEventListener('click', () => scrollTo({ top: 0 }));
    addEventListener('scroll', () => scrollY < 8 && this.#forgetNewer(), { passive: true });
  }

  // --- session -------------------------------------------------------------------------------------------------------

  async #logIn(proof, name) {
    const { credential, account, provider } = proof;
    await this.client.logIn(credential, { name, account, provider });
    await this.#signedIn();
    find('#main').focus({ preventScroll: true });
  }

  async #signedIn() {
    this.account.show(await this.store.session());
    await this.store.tidy();
    this.list.reset(await this.store.rows());
    await this.#showSites();
    this.signIn.hide();
    document.body.classList.add('in');
    this.#goTo('messages');
    trouble('');
    this.client.start();
  }

  #signedOut(reason = null) {
    this.known = false;
    document.body.classList.remove('in');
    for (const dialog of document.querySelectorAll('dialog[open]')) dialog.close();
    this.list.reset([]);
    this.sites.show([]);
    this.tryIt.show([]);
    this.#forgetNewer();
    this.signIn.show(reason);
  }

  async #logOut(everywhere) {
    const told = this.client.logOut({ everywhere });
    this.#signedOut();
    try {
      await told;
    } catch (error) {
      trouble(`You are logged out here, but the service could not be told (${error.message}): it goes on to count this `
        + 'device as yours until you log out everywhere on another.');
    }
  }

  // --- what comes ----------------------------------------------------------------------------------------------------

  #changed(change) {
    this.list.change(change);
    if (change.pushUrls) this.#showSites();
    if (!change.live) return;
    const fresh = change.put.filter((row) => row.state === 'unread');
    this.tryIt.hear(fresh.map((row) => row.id));
    this.#news.push(...fresh);
    if (scrollY >= 8) {
      this.#scrolledNews += fresh.length;
      find('#newer').textContent = `↑ ${counted(this.#scrolledNews, 'new message')}`;
      find('#newer').hidden = false;
    }
    // What comes in a burst is said once.
    this.#newsTimer ||= setTimeout(() => {
      say(announcement(this.#news.splice(0)));
      this.#newsTimer = 0;
    }, NEWS_MS);
  }

  #forgetNewer() {
    this.#scrolledNews = 0;
    find('#newer').hidden = true;
  }

  async #showSites() {
    const pushUrls = await this.store.pushUrls();
    this.list.setIcons(new Map(pushUrls.map(({ id, icon }) => [id, icon])));
    this.sites.show(pushUrls);
    this.tryIt.show(pushUrls);
    this.hasSites = pushUrls.length > 0;
    this.#drawEmpty();
  }

  // --- what is shown -------------------------------------------------------------------------------------------------

  #show(which) {
    for (const button of document.querySelectorAll('[data-show]')) {
      button.setAttribute('aria-pressed', String(button.dataset.show === which));
    }
    this.list.show(which);
    this.#drawEmpty();
  }

  #goTo(view) {
    document.body.dataset.view = view;
    for (const button of document.querySelectorAll('[data-to]')) {
      if (button.dataset.to === view) button.setAttribute('aria-current', 'page');
      else button.removeAttribute('aria-current');
    }
    scrollTo({ top: 0 });
  }

  #counts(unread, read) {
    this.counts = { unread, read };
    const count = find('#unread');
    count.hidden = unread === 0;
    count.textContent = unread.toLocaleString('en');
    count.ariaLabel = `${unread} unread`;
    document.title = unread ? `(${unread}) Inbox` : 'Inbox';
    find('#clear').disabled = unread === 0;
    this.#drawEmpty();
  }

  /** All that was missed is here, or will not be soon: that nothing is shown means something now. */
  #nowKnown() {
    this.known = true;
    this.#drawEmpty();
  }

  /** What to do when there is nothing to see. */
  #drawEmpty() {
    if (!this.counts || !this.list) return;
    const { shown } = this.list;
    find('#empty').hidden = !this.known || this.counts[shown] > 0;
    const button = find('#empty-do');
    const put = (title, text, label, work) => {
      find('#empty-title').textContent = title;
      find('#empty-text').textContent = text;
      button.hidden = !label;
      button.textContent = label ?? '';
      button.onclick = work ?? null;
    };
    if (shown === 'read') put('Nothing here', 'What you have read stays here until it expires.');
    else if (this.hasSites) {
      put('Nothing unread', 'New messages appear here, on this device and on your others.', 'Send yourself one', () => {
        this.#goTo('sites');
        this.tryIt.focus();
      });
    } else {
      put('No site may send to you yet', 'Allow one, and give it the push URL that you get.', 'Allow a site', () => {
        this.#goTo('sites');
        this.sites.focus();
      });
    }
  }

  async #attempt(work) {
    try {
      trouble('');
      await work();
    } catch (error) {
      if (error.status !== 401) trouble(`That did not work: ${error.message}.`);
    }
  }
}

async function start() {
  if (!isSecureContext) {
    throw new Error('Browsers let a page like this work over https only, or at 127.0.0.1 on this machine');
  }
  const profile = await takeProfile();
  // Who clears this site's data wants a fresh start.
  const store = await openStore(`pushctl-inbox-${profile}`, () => location.reload());
  const config = await configFrom(store);
  if (config.api !== location.origin) {
    location.replace(`${config.api}/inbox/`); // where the session is, and assertions are for
    return;
  }
  await new Page({ config, store, profile }).start();
  // Without it (a private window may have none) only what works without a network is missing.
  await navigator.serviceWorker?.register(workerUrl()).catch(() => {});
}

start().catch((error) => {
  document.body.dataset.phase = 'stopped';
  find('#phase').textContent = 'Not started';
  trouble(`${error.message}. Load this page again when that is mended.`);
});
