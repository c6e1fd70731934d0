/** One job: its picture as it becomes one, what its steps did, and what can be done with it. */
import { useEffect, useState } from 'preact/hooks';
import { isOver, type JobView, type StepEvent, textOf } from '../api/types.ts';
import { duration } from '../parts/format.ts';
import { Icon } from '../parts/icons.tsx';
import { useFile } from '../parts/use-file.ts';
import { fields, takeSettings, tellOf } from '../state/form.ts';
import { end } from '../state/jobs.ts';
import { show } from '../state/route.ts';
import { useWatch, type Watched } from '../state/watch.ts';
import { Figures, forecasts } from './figures.tsx';
import { Timeline } from './timeline.tsx';

export function JobStage({ id }: { id: string }) {
  const watched = useWatch(id);
  const job = watched.job.value;
  useEffect(() => {
    if (job?.error) tellOf(job);
  }, [job]);
  if (watched.gone.value !== undefined) return <Gone reason={watched.gone.value} />;
  if (!job) return <div class="frame waiting" aria-busy="true" />;
  const steps = watched.steps.value;
  return (
    <>
      <Picture watched={watched} job={job} />
      <p class="caption">{textOf(job)}</p>
      {isOver(job.state) ? null : <Progress job={job} steps={steps} />}
      {job.error && (
        <p class="error banner" role="alert">
          {job.error.message}
        </p>
      )}
      {job.state === 'cancelled' && <p class="notice">Cancelled after {steps.length} steps.</p>}
      {(steps.length > 0 || !isOver(job.state)) && (
        <Timeline title="Steps" steps={steps} total={totalOf(job, steps)} forecasts={forecasts(job.report?.summary)} />
      )}
      <Figures job={job} />
      <Actions job={job} />
      <About job={job} />
    </>
  );
}

/** How many there will be: as its steps say, or as it was asked for, or as the model has it. */
export function totalOf(job: JobView | undefined, steps: readonly StepEvent[]): number {
  const usual = fields.value.all.get('numInferenceSteps')?.default;
  return steps[0]?.steps ?? Number(job?.options?.['numInferenceSteps'] ?? usual ?? 0);
}

function Picture({ watched, job }: { watched: Watched; job: JobView }) {
  const [index, setIndex] = useState(0);
  const file = job.files[index] ?? job.files[0];
  const address = useFile(file?.url);
  const source = address ?? watched.preview.value;
  const alt = textOf(job);
  const [width, height] = sizeOf(job);
  const state = address ? 'done' : source ? 'preview' : 'blank';
  return (
    <div class="pictures">
      <div class={`frame ${state}`} style={{ aspectRatio: `${width} / ${height}` }} aria-busy={!isOver(job.state)}>
        {file?.type.startsWith('video/') && address ? (
          <video src={address} controls loop muted autoplay />
        ) : (
          source && <img src={source} alt={alt} data-state={state} />
        )}
        {state === 'preview' && !isOver(job.state) && <span class="badge">preview</span>}
      </div>
      {job.files.length > 1 && (
        <fieldset class="strip" aria-label="Pictures of this job">
          {job.files.map(({ url }, i) => (
            <Thumb key={url} url={url} label={`Picture ${i + 1}`} on={i === index} onClick={() => setIndex(i)} />
          ))}
        </fieldset>
      )}
    </div>
  );
}

function Thumb({ url, label, on, onClick }: { url: string; label: string; on: boolean; onClick(): void }) {
  const address = useFile(url);
  return (
    <button type="button" aria-pressed={on} aria-label={label} onClick={onClick}>
      {address && <img src={address} alt="" />}
    </button>
  );
}

function sizeOf({ files, preview, options }: JobView): [number, number] {
  const [file] = files;
  const known = file ?? preview;
  if (known) return [known.width, known.height];
  return [Number(options?.['width'] ?? 1), Number(options?.['height'] ?? 1)];
}

/** How far it is, and how long it takes yet. */
export function Progress({ job, steps, label }: { job: JobView; steps: readonly StepEvent[]; label?: string }) {
  const total = totalOf(job, steps);
  const done = steps.length;
  const recent = steps.slice(1).slice(-6);
  const each = recent.reduce((sum, { time }) => sum + time, 0) / recent.length;
  const left = recent.length > 1 && total > done ? each * (total - done) : undefined;
  const position = job.position ?? 0;
  const text = job.cancelling
    ? 'Ending…'
    : job.state === 'queued'
      ? `Waiting, ${position === 0 ? 'next in turn' : `${position} before it`}`
      : done === 0
        ? 'Reading the prompt…'
        : done === total
          ? 'Decoding…'
          : `Step ${done} of ${total}`;
  return (
    <div class="progress">
      <progress max={Math.max(1, total)} value={done} aria-label={label ?? 'Progress'} />
      <p aria-live="polite">
        {text}
        {left !== undefined && <span class="left">{duration(left)} left</span>}
      </p>
      <button
        type="button"
        class="quiet"
        disabled={job.cancelling}
        aria-keyshortcuts="Escape"
        onClick={() => void end(job.id)}
      >
        Cancel <kbd>Esc</kbd>
      </button>
    </div>
  );
}

function Actions({ job }: { job: JobView }) {
  const [file] = job.files;
  const address = useFile(file?.url);
  if (!isOver(job.state)) return null;
  const ending = { 'image/jpeg': 'jpg', 'video/mp4': 'mp4' }[file?.type ?? ''] ?? file?.type.split('/')[1];
  return (
    <div class="buttons">
      {job.state === 'done' && job.options?.['cache'] !== false && (
        <button type="button" onClick={() => show({ kind: 'compare', cached: job.id })}>
          <Icon name="compare" /> Compare with uncached
        </button>
      )}
      <button type="button" onClick={() => takeSettings(job)}>
        <Icon name="settings" /> Use these settings
      </button>
      {address && (
        <a class="button" href={address} download={`${job.id.slice(0, 8)}.${ending}`}>
          <Icon name="download" /> Download
        </a>
      )}
      <button
        type="button"
        onClick={async () => {
          await end(job.id);
          show({ kind: 'none' });
        }}
      >
        <Icon name="trash" /> Delete
      </button>
    </div>
  );
}

/** What it was asked for with, and when. */
function About({ job }: { job: JobView }) {
  const { options, model, createdAt, finishedAt } = job;
  const rows: [string, unknown][] = [
    ['model', model],
    ...Object.entries(options ?? {}),
    ['asked for', new Date(createdAt).toLocaleString()],
    ...(finishedAt === null ? [] : ([['over', new Date(finishedAt).toLocaleString()]] as [string, unknown][])),
  ];
  return (
    <details class="about">
      <summary>
        <Icon name="chevron" /> What it was asked with
      </summary>
      <dl>
        {rows.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{typeof value === 'string' ? value : JSON.stringify(value)}</dd>
          </div>
        ))}
      </dl>
    </details>
  );
}

export function Gone({ reason }: { reason: string }) {
  return (
    <div class="empty" role="status">
      <h2>This job is gone</h2>
      <p>{reason}</p>
      <button type="button" onClick={() => show({ kind: 'none' })}>
        Close
      </button>
    </div>
  );
}
