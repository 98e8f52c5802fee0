// The log-in form: by the development identity provider, or by one of the OpenID providers that the page was told of.
//
// Owns: the section #signin. Must not know: how a proof is made (login.js), what a session is for.

import { devProof, goToProvider, providerProof } from './login.js';

const section = document.querySelector('#signin');
const form = section.querySelector('#signin-dev');
const error = section.querySelector('#signin-error');
const why = section.querySelector('#signin-why');
const usual = why.textContent;

export class SignIn {
  #config;
  #logIn;

  /**
   * @param {import('./login.js').Config} config
   * @param {(proof: import('./login.js').Proof, name: string) => Promise<void>} logIn `name`: of the device
   * @param {string} deviceName what this device is called unless somebody says otherwise
   */
  constructor(config, logIn, deviceName) {
    this.#config = config;
    this.#logIn = logIn;
    form.elements.device.value = deviceName;
    form.hidden = !config.dev_idp;
    section.querySelector('#signin-nobody').hidden = config.dev_idp || config.providers.length > 0;
    section.querySelector('#signin-providers').replaceChildren(...config.providers.map((each) => this.#button(each)));
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#attempt(() => devProof(config, form.elements.name.value), { twice: true });
    });
  }

  /** Shows the form. `reason`: why a person who was logged in sees it. */
  show(reason = null) {
    section.hidden = false;
    why.textContent = reason ? `You were logged out (${reason}). Log in again, and your messages come back.` : usual;
    (this.#config.dev_idp ? form.elements.name : section.querySelector('button, a'))?.focus({ preventScroll: true });
  }

  hide() {
    section.hidden = true;
    error.textContent = '';
  }

  /** A provider sent the person back. @param {{query: URLSearchParams, pending: object}} redirect */
  async finish(redirect) {
    this.show();
    await this.#attempt(() => providerProof(this.#config, redirect));
  }

  #button(provider) {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'primary';
    button.textContent = `Log in with ${provider.name}`;
    button.addEventListener('click', () => this.#attempt(async () => {
      await goToProvider(provider);
      return null; // this page ends
    }));
    return button;
  }

  /** `twice`: the service may not know this device any more; a proof is good for one attempt. */
  async #attempt(prove, { twice = false } = {}) {
    const buttons = section.querySelectorAll('button');
    for (const button of buttons) button.disabled = true;
    section.setAttribute('aria-busy', 'true');
    error.textContent = '';
    try {
      const name = form.elements.device.value.trim() || 'browser';
      const proof = await prove();
      if (proof) {
        await this.#logIn(proof, name).catch(async (problem) => {
          if (!twice || problem.status !== 404) throw problem;
          await this.#logIn(await prove(), name);
        });
      }
    } catch (problem) {
      error.textContent = `Not logged in: ${problem.message}.`;
    } finally {
      section.removeAttribute('aria-busy');
      for (const button of buttons) button.disabled = false;
    }
  }
}

/** "Firefox on Linux", with the tab's number from the second one on. @param {number} profile */
export function deviceNameFor(profile) {
  const agent = navigator.userAgent;
  const browser = ['Firefox', 'Edg', 'Chrome', 'Safari'].find((name) => agent.includes(`${name}/`)) ?? 'Browser';
  const system = ['Android', 'iPhone', 'iPad', 'Windows', 'Mac OS', 'Linux'].find((name) => agent.includes(name));
  const name = `${browser === 'Edg' ? 'Edge' : browser}${system ? ` on ${system.replace('Mac OS', 'macOS')}` : ''}`;
  return profile === 1 ? name : `${name}, tab ${profile}`;
}
