// Times and sites in words. Must not know: where they stand.

const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto', style: 'short' });
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });

const UNITS = [['day', 86_400], ['hour', 3600], ['minute', 60]];

/** "now", "5 min. ago", "yesterday". @param {number} at ms @param {number} now ms */
export function age(at, now) {
  const seconds = (now - at) / 1000;
  const [unit, size] = UNITS.find(([, each]) => seconds >= each) ?? [null, 0];
  return unit === null ? 'now' : relative.format(-Math.floor(seconds / size), unit);
}

/** When, in full. @param {number} at ms */
export function exactly(at) {
  return moment.format(at);
}

/** The time of day. @param {number} at ms */
export function timeOfDay(at) {
  return clock.format(at);
}

/** "12 s", "2 min". @param {number} ms */
export function duration(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  return seconds < 100 ? `${seconds} s` : `${Math.ceil(seconds / 60)} min`;
}

/** A site as people call it: without https://, but with http://, which is worth noticing. @param {string} site */
export function called(site) {
  return site.replace(/^https:\/\//, '');
}

/** "1 message", "12 messages". */
export function counted(count, noun) {
  return `${count.toLocaleString('en')} ${noun}${count === 1 ? '' : 's'}`;
}
