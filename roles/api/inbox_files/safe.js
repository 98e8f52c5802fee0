// What of a message may be shown, and how. Sites write messages: nothing in them is trusted.
//
// Owns: which icons and links are taken. Promises: text stays text (everything here is shown by `textContent`); an icon
// is a raster image in a data: URL, or an http(s) URL; a link is an http(s) URL. Must not know: what is shown where.
//
// No SVG: 16 KiB of it can keep a processor busy for minutes, and it can move.

const RASTER = /^data:image\/(?:avif|gif|jpeg|png|webp|x-icon|vnd\.microsoft\.icon)[;,]/i;
const LONGEST_ICON = 16 * 1024;
const LONGEST_URL = 2048;

/**
 * What an icon's text is good for. `remote`: loading it tells a site's server that somebody looks now, and from where.
 * @param {unknown} text @returns {?{src: string, remote: boolean}}
 */
export function iconOf(text) {
  if (typeof text !== 'string' || text.length > LONGEST_ICON) return null;
  if (RASTER.test(text)) return { src: text, remote: false };
  const url = webUrl(text);
  return url && { src: url.href, remote: true };
}

/** An http(s) URL without a user's name in it, or null. @param {unknown} text @returns {?URL} */
export function webUrl(text) {
  if (typeof text !== 'string' || text.length > LONGEST_URL) return null;
  try {
    const url = new URL(text);
    return ['http:', 'https:'].includes(url.protocol) && !url.username && !url.password ? url : null;
  } catch {
    return null;
  }
}

/** The origin that somebody may have meant by `news.example`, or null. @param {string} text @returns {?string} */
export function siteOf(text) {
  const trimmed = text.trim();
  const url = webUrl(/^https?:\/\//i.test(trimmed) ? trimmed : `https://${trimmed}`);
  return url && url.hostname.length > 0 ? url.origin : null;
}
