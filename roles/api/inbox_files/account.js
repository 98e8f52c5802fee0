// Who is logged in, on which devices, and the end of it.
//
// Owns: the section #account. Must not know: how sessions work.

import { icons } from './icon.js';
import { confirmed } from './sites.js';
import { age } from './words.js';

const remote = document.querySelector('#remote-icons');
const devices = document.querySelector('#devices');
const list = document.querySelector('#device-list');

export class Account {
  #client;

  /**
   * @param {import('./pushctl.js').Client} client
   * @param {{store: object, iconsChanged: () => void, out: (everywhere: boolean) => Promise<void>}} page
   */
  constructor(client, { store, iconsChanged, out }) {
    this.#client = client;
    remote.addEventListener('change', async () => {
      icons.remote = remote.checked;
      await store.setSetting('remote-icons', remote.checked);
      iconsChanged();
    });
    devices.addEventListener('toggle', () => devices.open && this.#list());
    document.querySelector('#logout').addEventListener('click', () => out(false));
    document.querySelector('#logout-all').addEventListener('click', async () => {
      const text = 'Every browser and program that is logged in as you has to log in again.';
      if (await confirmed('Log out on all devices?', text, 'Log out everywhere')) await out(true);
    });
  }

  /** What was chosen before. */
  async restore(store) {
    icons.remote = (await store.setting('remote-icons')) ?? false;
    remote.checked = icons.remote;
  }

  /** @param {import('./pushctl.js').Session} session */
  show({ account, deviceName }) {
    document.querySelector('#who').textContent = account;
    document.querySelector('#device').textContent = deviceName;
    devices.open = false;
  }

  async #list() {
    try {
      const found = await this.#client.devices();
      list.replaceChildren(...found.map((device) => {
        const item = document.createElement('li');
        const seen = device.connected ? 'connected' : `seen ${age(Date.parse(device.last_seen_at), Date.now())}`;
        item.textContent = `${device.name}, ${device.current ? 'this one' : seen}`;
        return item;
      }));
    } catch (problem) {
      list.textContent = `Not to be had now: ${problem.message}.`;
    }
  }
}
