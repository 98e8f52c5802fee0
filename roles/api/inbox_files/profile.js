// Two tabs are two devices: each tab has a profile of its own, a database that no other tab uses meanwhile.
//
// Owns: which profile a tab has. Promises: a tab keeps its profile when it is loaded again, and gives it back when it
// is closed, so that the next one is that device again. Must not know: what is in a profile.

const PATIENCE_MS = 500;
const KEY = 'pushctl-inbox-profile';

/** The number of this tab's profile, from 1. It is this tab's until the page is gone. @returns {Promise<number>} */
export async function takeProfile() {
  const before = Number(sessionStorage.getItem(KEY)) || 0;
  // The page that was here before may still be on its way out. (A copy of this tab has the number, but not the lock.)
  if (before && (await hold(before, { signal: AbortSignal.timeout(PATIENCE_MS) }))) return before;
  for (let number = 1; ; number += 1) {
    if (await hold(number, { ifAvailable: true })) {
      sessionStorage.setItem(KEY, String(number));
      return number;
    }
  }
}

/** Whether the lock is ours, and then for good. */
function hold(number, options) {
  return new Promise((resolve) => {
    const held = (lock) => {
      resolve(lock !== null);
      return lock && new Promise(() => {}); // until the page is gone
    };
    navigator.locks.request(`pushctl-inbox-${number}`, options, held).catch(() => resolve(false));
  });
}
