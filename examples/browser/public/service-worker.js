/** Keeps the page's own files, so that it opens without a network too. The library keeps the model. */
const storeName = 'page';

addEventListener('install', () => skipWaiting());
addEventListener('activate', (event) => event.waitUntil(clients.claim()));
addEventListener('fetch', (event) => {
  const { method, headers, url } = event.request;
  if (method !== 'GET' || headers.has('range') || !url.startsWith(registration.scope) || url.includes('/model/'))
    return;
  event.respondWith(newestOrKept(event.request));
});

async function newestOrKept(request) {
  const store = await caches.open(storeName);
  try {
    const response = await fetch(request);
    if (response.ok) await store.put(request, response.clone());
    return response;
  } catch (error) {
    const kept = await store.match(request);
    if (!kept) throw error;
    return kept;
  }
}
