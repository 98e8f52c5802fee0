// A site's icon: its picture, or the first letter of its name where there is none that may be shown.
//
// Owns: the element `.icon`. Must not know: where it stands.

import { iconOf } from './safe.js';

/** Whether pictures are loaded from other servers; the account part of the page sets it. */
export const icons = { remote: false };

/**
 * Fills an element of class `icon`.
 * @param {HTMLElement} place @param {string} site @param {unknown[]} wanted icons, the first that may be shown is
 */
export function showIcon(place, site, wanted) {
  const host = hostOf(site);
  const letter = document.createElement('span');
  letter.textContent = (host.replace(/^www\./, '')[0] ?? '?').toUpperCase();
  letter.ariaHidden = 'true';
  place.style.setProperty('--hue', String(hueOf(host)));
  place.replaceChildren(letter);
  const found = wanted.map(iconOf).find((icon) => icon && (!icon.remote || icons.remote));
  if (!found) return;
  const image = new Image(40, 40);
  image.alt = '';
  image.loading = 'lazy';
  image.decoding = 'async';
  image.referrerPolicy = 'no-referrer';
  image.onload = () => letter.remove();
  image.onerror = () => image.remove();
  image.src = found.src;
  place.append(image);
}

function hostOf(site) {
  try {
    return new URL(site).hostname;
  } catch {
    return '?';
  }
}

function hueOf(text) {
  let sum = 0;
  for (const character of text) sum = (sum * 31 + character.codePointAt(0)) % 360;
  return sum;
}
