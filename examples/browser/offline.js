/** Makes the page one that opens without a network: its service worker keeps what is loaded from now on, and here what was before. */
export async function keepPage() {
  // None on pages from the disk, nor without https.
  if (!navigator.serviceWorker || !import.meta.env.PROD) return;
  await navigator.serviceWorker.register('./service-worker.js');
  if (!navigator.serviceWorker.controller)
    await new Promise((resolve) => {
      navigator.serviceWorker.addEventListener('controllerchange', resolve, { once: true });
    });
  const loaded = performance.getEntriesByType('resource').map(({ name }) => name);
  // Through the service worker, which keeps them.
  await Promise.all([location.href, ...loaded].map((url) => fetch(url)));
}
