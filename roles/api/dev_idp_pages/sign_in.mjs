// The sign-in page: one form, one session. What the session may do with is shown, for whoever tries things out.

import { login } from './browserid.mjs';

const form = document.querySelector('form');
const said = document.querySelector('output');
const { audience } = document.documentElement.dataset;

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  const button = form.querySelector('button');
  button.disabled = true;
  said.textContent = 'signing in ...';
  try {
    const session = await login({
      api: location.origin, audience, name: form.elements.name.value, device: form.elements.device.value,
    });
    said.textContent = JSON.stringify(session, null, 2);
  } catch (error) {
    said.textContent = `not signed in: ${error.message}`;
  } finally {
    button.disabled = false;
  }
});
