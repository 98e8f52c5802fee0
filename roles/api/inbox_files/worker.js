// The page without a network: its own files, from the version that was installed last.
//
// Owns: one cache of these files. Promises: while the server answers, files come from the server; nothing that holds
// anything of a user is ever cached; a cache has files of one version only. Must not know: the inbox.

const CACHE = 'pushctl-inbox-{version}';
const FILES = [
  './', 'account.js', 'app.js', 'connection.js', 'icon.js', 'icon.svg', 'list.js', 'login.js', 'peer.js', 'profile.js',
  'pushctl.js', 'safe.js', 'signin.js', 'sites.js', 'status.js', 'store.js', 'style.css', 'try.js', 'words.js',
];
const PATIENCE_MS = 3000;

const urls = new Set(FILES.map((file) => new URL(file, location).href));

self.addEventListener('install', (event) => {
  const fresh = FILES.map((file) => new Request(file, { cache: 'reload' }));
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(fresh)).then(() => self.skipWaiting()));
});

self.addEventListener('activate', (event) => {
  event.waitUntil((async () => {
    for (const name of await caches.keys()) {
      if (name.startsWith('pushctl-inbox-') && name !== CACHE) await caches.delete(name);
    }
    await self.clients.claim();
  })());
});

self.addEventListener('fetch', (event) => {
  const url = event.request.url.replace(/[?#].*$/, '');
  if (event.request.method === 'GET' && urls.has(url)) event.respondWith(file(event.request, url));
});

async function file(request, url) {
  const kept = await caches.match(url, { cacheName: CACHE });
  try {
    return await fetch(request, kept ? { signal: AbortSignal.timeout(PATIENCE_MS) } : {});
  } catch (error) {
    if (kept) return kept;
    throw error;
  }
}
