// The sites that may send: their push URLs, and what a person is asked before one is made or taken back.
//
// Owns: the section #sites and its two dialogs. Promises: no push URL is made or revoked without a person's yes; a
// picture that is given as an icon is made small here, so that no other server is asked for it.
// Must not know: requests.

import { showIcon } from './icon.js';
import { siteOf } from './safe.js';
import { called } from './words.js';

const ICON_PIXELS = 64;
const LONGEST_ICON = 16 * 1024;

const list = document.querySelector('#push-urls');
const template = document.querySelector('#push-url');
const form = document.querySelector('#allow');
const error = document.querySelector('#allow-error');

export class Sites {
  /** @param {import('./pushctl.js').Client} client @param {(text: string) => void} say for screen readers */
  constructor(client, say) {
    this.client = client;
    this.say = say;
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#allow();
    });
  }

  /** @param {import('./pushctl.js').PushUrl[]} pushUrls */
  show(pushUrls) {
    document.querySelector('#no-sites').hidden = pushUrls.length > 0;
    const had = list.contains(document.activeElement);
    list.replaceChildren(...pushUrls.map((each) => this.#item(each)));
    if (had) (list.querySelector('button') ?? form.elements.site).focus();
  }

  /** Where a person who has no site yet is sent. */
  focus() {
    form.elements.site.focus();
  }

  #item(pushUrl) {
    const item = template.content.firstElementChild.cloneNode(true);
    const part = (selector) => item.querySelector(selector);
    showIcon(part('.icon'), pushUrl.site, [pushUrl.icon]);
    part('.site').textContent = called(pushUrl.site);
    part('.copy').setAttribute('aria-label', `Copy push URL of ${called(pushUrl.site)}`);
    part('.revoke').setAttribute('aria-label', `Revoke push URL of ${called(pushUrl.site)}`);
    part('.copy').addEventListener('click', (event) => copy(event.target, pushUrl.url, this.say));
    part('.revoke').addEventListener('click', () => this.#revoke(pushUrl));
    return item;
  }

  async #allow() {
    error.textContent = '';
    const site = siteOf(form.elements.site.value);
    try {
      if (site === null) throw new Error('Give the address of a site, such as news.example');
      const icon = await iconFrom(form.elements.icon.files[0]);
      const pushUrl = await this.client.allow(site, icon);
      if (pushUrl === null) return;
      form.reset();
      this.say(`${called(site)} may send now. Give it the push URL.`);
    } catch (problem) {
      error.textContent = `${problem.message}.`;
      form.elements.site.focus();
    }
  }

  async #revoke({ id, site }) {
    const text = 'Its push URL is refused from now on, and cannot be had back. Unread messages stay.';
    if (!(await confirmed(`Revoke the push URL of ${called(site)}?`, text, 'Revoke'))) return;
    try {
      await this.client.revoke(id);
      this.say(`${called(site)} may not send any more.`);
    } catch (problem) {
      error.textContent = `Not revoked: ${problem.message}.`;
    }
  }
}

/** Asks as a browser would. For the client's `ask`. @param {{site: string, icon: ?string}} wanted */
export async function askPerson({ site, icon }) {
  const dialog = document.querySelector('#ask');
  showIcon(dialog.querySelector('.icon'), site, [icon]);
  dialog.querySelector('.site').textContent = called(site);
  return answered(dialog);
}

/** A question that must be meant. */
export async function confirmed(title, text, yes) {
  const dialog = document.querySelector('#confirm');
  dialog.querySelector('#confirm-title').textContent = title;
  dialog.querySelector('#confirm-text').textContent = text;
  dialog.querySelector('[value=yes]').textContent = yes;
  return answered(dialog);
}

function answered(dialog) {
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
  });
}

/** Puts a text on the clipboard, and says so on the button. */
export async function copy(button, text, say) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = 'Copied';
    say('Copied');
  } catch {
    button.textContent = 'Not allowed';
  }
  setTimeout(() => { button.textContent = before; }, 1500);
}

/** A picture as a small data: URL; null without one. */
async function iconFrom(file) {
  if (!file) return null;
  let picture;
  try {
    picture = await createImageBitmap(file);
  } catch {
    throw new Error('That is no picture that this browser can read');
  }
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = ICON_PIXELS;
  const scale = ICON_PIXELS / Math.max(picture.width, picture.height);
  const [width, height] = [picture.width * scale, picture.height * scale];
  canvas.getContext('2d').drawImage(picture, (ICON_PIXELS - width) / 2, (ICON_PIXELS - height) / 2, width, height);
  const icon = canvas.toDataURL('image/png');
  if (icon.length > LONGEST_ICON) throw new Error('That picture is too detailed for an icon');
  return icon;
}
