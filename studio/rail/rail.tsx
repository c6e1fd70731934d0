/** The right of the page: what runs and waits, and what is there of it. */
import { useEffect, useRef, useState } from 'preact/hooks';
import { type JobView, textOf } from '../api/types.ts';
import { IconButton } from '../parts/icons.tsx';
import { useFile } from '../parts/use-file.ts';
import { active, end, finished } from '../state/jobs.ts';
import { route, show } from '../state/route.ts';

export function Rail() {
  return (
    <aside class="rail" aria-label="Jobs of this server">
      <Queue />
      <Gallery />
    </aside>
  );
}

const isShown = (id: string): boolean => {
  const now = route.value;
  return now.kind === 'job' ? now.id === id : now.kind === 'compare' && (now.cached === id || now.exact === id);
};

function Queue() {
  if (active.value.length === 0) return null;
  return (
    <section class="queue" aria-label="Queue">
      <h2>
        Queue <span class="count">{active.value.length}</span>
      </h2>
      <ul>
        {active.value.map((job) => {
          const { id, state, position = 0, cancelling, progress } = job;
          return (
            <li key={id} class={isShown(id) ? 'on' : ''}>
              <button type="button" class="pick" onClick={() => show({ kind: 'job', id })}>
                <span class="text">{textOf(job)}</span>
                <span class="state">
                  {cancelling
                    ? 'ending'
                    : state === 'queued'
                      ? `waits, ${position + 1}.`
                      : progress.steps === 0
                        ? 'begins'
                        : `${progress.step} of ${progress.steps}`}
                </span>
                <progress
                  max={Math.max(1, progress.steps)}
                  value={progress.step}
                  aria-label={`Progress of ${textOf(job)}`}
                />
              </button>
              <IconButton icon="close" label={`Cancel ${textOf(job)}`} onClick={() => void end(id)} />
            </li>
          );
        })}
      </ul>
    </section>
  );
}

function Gallery() {
  const list = useRef<HTMLUListElement>(null);
  const jobs = finished.value;
  const [focused, setFocused] = useState<string | undefined>();
  const entry = jobs.find(({ id }) => id === focused)?.id ?? jobs.find(({ id }) => isShown(id))?.id ?? jobs[0]?.id;
  const move = (event: KeyboardEvent) => {
    const index = jobs.findIndex(({ id }) => id === entry);
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const next = by === undefined ? undefined : jobs[index + by];
    if (!next) return;
    event.preventDefault();
    setFocused(next.id);
    list.current?.querySelectorAll('button')[index + by!]?.focus();
  };
  return (
    <section class="gallery" aria-label="Gallery">
      <h2>Gallery {jobs.length > 0 && <span class="count">{jobs.length}</span>}</h2>
      {jobs.length === 0 ? (
        <p class="hint">Finished jobs of this server come here, and stay for as long as it keeps them.</p>
      ) : (
        <ul ref={list} onKeyDown={move}>
          {jobs.map((job) => (
            <li key={job.id}>
              <Card job={job} tabIndex={job.id === entry ? 0 : -1} />
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

function Card({ job, tabIndex }: { job: JobView; tabIndex: number }) {
  const { id, state, files, finishedAt, report, error } = job;
  const place = useRef<HTMLButtonElement>(null);
  const seen = useSeen(place);
  const [file] = files;
  const address = useFile(seen ? file?.url : undefined);
  const text = textOf(job);
  const about =
    state === 'done' && report
      ? `seed ${[report.seed].flat()[0]}, ${report.reusedSteps} of ${report.steps} steps from the cache`
      : (error?.message ?? 'cancelled');
  return (
    <button
      ref={place}
      type="button"
      class={`card ${state}`}
      tabIndex={tabIndex}
      aria-pressed={isShown(id)}
      aria-label={`${text}: ${about}`}
      title={`${text}\n${about}${finishedAt ? `\n${new Date(finishedAt).toLocaleTimeString()}` : ''}`}
      onClick={() => show({ kind: 'job', id })}
    >
      {address && file!.type.startsWith('video/') ? (
        <video src={address} muted />
      ) : (
        address && <img src={address} alt="" />
      )}
      {state !== 'done' && <span class="state">{state}</span>}
      {files.length > 1 && <span class="count">{files.length}</span>}
    </button>
  );
}

/** Whether it has come into sight: only then its picture is worth a request. */
function useSeen(place: { current: Element | null }): boolean {
  const [seen, setSeen] = useState(false);
  useEffect(() => {
    const watcher = new IntersectionObserver(
      (entries) => {
        if (entries.some(({ isIntersecting }) => isIntersecting)) setSeen(true);
      },
      { rootMargin: '200px' },
    );
    watcher.observe(place.current!);
    return () => watcher.disconnect();
  }, [place]);
  return seen;
}
