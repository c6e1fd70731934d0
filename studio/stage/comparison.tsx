/** One request with its cache and without: the two pictures over each other, where they differ, and what the cache was worth. */
import { useEffect, useMemo, useState } from 'preact/hooks';
import { psnr } from '../../src/metrics/pixel-errors.ts';
import { ApiError, request } from '../api/client.ts';
import { isOver, type JobView, type StepEvent } from '../api/types.ts';
import { duration, factor, median } from '../parts/format.ts';
import { tellOf } from '../state/form.ts';
import { again } from '../state/jobs.ts';
import { route, show } from '../state/route.ts';
import { useWatch, type Watched } from '../state/watch.ts';
import { type Figure, FigureList, fewer, flopsHelp, forecasts, speedUp } from './figures.tsx';
import { Gone, Progress, totalOf } from './job-stage.tsx';
import { differencePicture, largestDifference, pixelsOf } from './pixels.ts';
import { Timeline } from './timeline.tsx';
import { Views } from './views.tsx';

/** The uncached jobs that were asked for, by their cached ones, so that nothing is drawn twice. */
const halves = new Map<string, Promise<JobView>>();

export function Comparison({ cached, exact }: { cached: string; exact: string | undefined }) {
  const [first, second] = [useWatch(cached), useWatch(exact)];
  const [a, b] = [first.job.value, second.job.value];
  const [refused, setRefused] = useState<string | undefined>();
  useEffect(() => {
    if (a?.error) tellOf(a);
    // One after the other: side by side each would take the other's time.
    if (a?.state !== 'done' || exact !== undefined) return;
    const half = halves.get(cached) ?? again(cached, { cache: false, seed: a.report!.seed, previews: { count: 0 } });
    halves.set(cached, half);
    half.then(
      ({ id }) => {
        const now = route.peek();
        if (now.kind === 'compare' && now.cached === cached)
          show({ kind: 'compare', cached, exact: id }, { replaces: true });
      },
      (error) => {
        halves.delete(cached);
        if (!(error instanceof ApiError)) throw error;
        setRefused(error.message);
      },
    );
  }, [a, exact, cached]);
  const gone = first.gone.value ?? second.gone.value;
  if (gone !== undefined) return <Gone reason={gone} />;
  const failed = refused ?? a?.error?.message ?? b?.error?.message;
  const running = [first, second].find(({ job }) => job.value && !isOver(job.value.state));
  return (
    <>
      <Pair cached={first} exact={second} />
      {running?.job.value && (
        <Progress
          job={running.job.value}
          steps={running.steps.value}
          label={running === first ? 'Cached' : 'Computed'}
        />
      )}
      {failed && (
        <p class="error banner" role="alert">
          {failed}
        </p>
      )}
      {[a, b].some((job) => job?.state === 'cancelled') && <p class="notice">Cancelled.</p>}
      <Course title="With the cache" watched={first} />
      <Course title="Computed in full" watched={second} />
      <div class="buttons">
        {[
          [cached, 'The cached job'],
          [exact, 'The computed job'],
        ].map(
          ([id, name]) =>
            id && (
              <button key={name} type="button" onClick={() => show({ kind: 'job', id })}>
                {name}
              </button>
            ),
        )}
      </div>
    </>
  );
}

function Course({ title, watched }: { title: string; watched: Watched }) {
  const job = watched.job.value;
  const steps = watched.steps.value;
  return (
    <Timeline title={title} steps={steps} total={totalOf(job, steps)} forecasts={forecasts(job?.report?.summary)} />
  );
}

function Pair({ cached, exact }: { cached: Watched; exact: Watched }) {
  const [a, b] = [cached.job.value, exact.job.value];
  const files = useBlobs(a, b);
  const size = a?.files[0];
  const ratio = size ? `${size.width} / ${size.height}` : '1';
  const compared = files.pixels;
  const difference = useMemo(
    () => (gain: number) => compared && differencePicture(compared[0], compared[1], gain),
    [compared],
  );
  const value = compared && psnr(compared[1], compared[0]);
  const most = compared && largestDifference(compared[0], compared[1]);
  const [timeA, timeB] = [cached, exact].map(usualTime);
  const entries: Figure[] = [
    {
      name: 'PSNR',
      value: value === undefined ? undefined : value === Number.POSITIVE_INFINITY ? 'equal' : `${value.toFixed(2)} dB`,
      help: 'of the cached picture against the computed one',
      exact: value,
    },
    { name: 'FLOPs', value: fewer(speedUp(a?.report?.summary)), help: flopsHelp },
    {
      name: 'Time',
      value: timeA && timeB ? faster(timeB / timeA) : undefined,
      help: timeHelp,
    },
    { name: 'Cached', value: timeA && duration(timeA), help: timeHelp },
    { name: 'Computed', value: timeB && duration(timeB), help: timeHelp },
    {
      name: 'Largest difference',
      value: most === undefined ? undefined : `${most} of 255`,
      help: 'of any colour of any pixel',
    },
  ];
  return (
    <>
      <FigureList class="headline" entries={entries} />
      <Views
        cached={files.urls[0] ?? cached.preview.value}
        exact={files.urls[1]}
        ratio={ratio}
        difference={compared && difference}
      />
    </>
  );
}

interface Blobs {
  urls: readonly (string | undefined)[];
  /** Of both, where both are there and of one size. */
  pixels: readonly [Awaited<ReturnType<typeof pixelsOf>>, Awaited<ReturnType<typeof pixelsOf>>] | undefined;
}

const timeHelp = 'of the steps, each kind at its median: what compiling cost at the first of them is left out';

/** Milliseconds of all steps, of one that is over; see `timeHelp`. */
function usualTime({ job, steps }: Watched): number | undefined {
  if (job.value?.state !== 'done') return undefined;
  const of = (action: StepEvent['action']) => {
    const times = steps.value.filter((step) => step.action === action).map(({ time }) => time);
    return times.length * median(times);
  };
  return of('compute') + of('reuse');
}

const faster = (by: number): string => (by >= 1 ? `${factor(by)} faster` : `${factor(1 / by)} slower`);

/** The first pictures of two jobs. */
function useBlobs(a: JobView | undefined, b: JobView | undefined): Blobs {
  const [found, setFound] = useState<Blobs>({ urls: [], pixels: undefined });
  const [urlA, urlB] = [a?.files[0]?.url, b?.files[0]?.url];
  useEffect(() => {
    const over = new AbortController();
    const made: string[] = [];
    const load = async (url: string | undefined) => {
      if (url === undefined) return undefined;
      const blob = await (await request(url, { signal: over.signal })).blob();
      const address = URL.createObjectURL(blob);
      made.push(address);
      return { address, pixels: await pixelsOf(blob) };
    };
    void Promise.all([load(urlA), load(urlB)])
      .then(([one, other]) => {
        if (over.signal.aborted) return;
        const same = one?.pixels.width === other?.pixels.width && one?.pixels.height === other?.pixels.height;
        setFound({
          urls: [one?.address, other?.address],
          pixels: one && other && same ? [one.pixels, other.pixels] : undefined,
        });
      })
      // Gone, or not wanted any more.
      .catch(() => undefined);
    return () => {
      over.abort();
      for (const address of made) URL.revokeObjectURL(address);
    };
  }, [urlA, urlB]);
  return found;
}
