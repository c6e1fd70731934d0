/** What the stage shows: it is in the address, so that a reload, a link and the back button find it again. */
import { signal } from '@preact/signals';

export type Route =
  | { kind: 'none' }
  | { kind: 'job'; id: string }
  /** The second is there once it has been asked for. */
  | { kind: 'compare'; cached: string; exact?: string };

export const route = signal<Route>(parse(location.hash));

addEventListener('hashchange', () => {
  route.value = parse(location.hash);
});

/** @param replaces whether going back leads past what is shown now */
export function show(next: Route, { replaces = false } = {}): void {
  const hash =
    next.kind === 'none'
      ? '#'
      : next.kind === 'job'
        ? `#/job/${next.id}`
        : `#/compare/${next.cached}${next.exact === undefined ? '' : `/${next.exact}`}`;
  history[replaces ? 'replaceState' : 'pushState'](null, '', hash);
  route.value = next;
}

function parse(hash: string): Route {
  const [, kind, first, second] = hash.split('/');
  if (kind === 'job' && first) return { kind, id: first };
  if (kind === 'compare' && first) return { kind, cached: first, ...(second ? { exact: second } : {}) };
  return { kind: 'none' };
}
