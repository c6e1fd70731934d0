/** A file of a job as an address that the page may show. It belongs to whoever asked for it, and goes with them. */
import { useEffect, useState } from 'preact/hooks';
import { request } from '../api/client.ts';

export function useFile(url: string | undefined): string | undefined {
  const [found, setFound] = useState<string | undefined>();
  useEffect(() => {
    if (url === undefined) return undefined;
    const over = new AbortController();
    let address: string | undefined;
    void (async () => {
      try {
        const blob = await (await request(url, { signal: over.signal })).blob();
        if (over.signal.aborted) return;
        address = URL.createObjectURL(blob);
        setFound(address);
      } catch {
        // It is gone, or nobody is there any more who wants it; the place stays empty.
      }
    })();
    return () => {
      over.abort();
      setFound(undefined);
      if (address !== undefined) URL.revokeObjectURL(address);
    };
  }, [url]);
  return found;
}
