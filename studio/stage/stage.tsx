/** The middle of the page: the job, or the two, that the address names. */
import { useEffect, useRef } from 'preact/hooks';
import { route } from '../state/route.ts';
import { Comparison } from './comparison.tsx';
import { JobStage } from './job-stage.tsx';

export function Stage() {
  const now = route.value;
  const place = useRef<HTMLElement>(null);
  const shown = now.kind === 'job' ? now.id : now.kind === 'compare' ? now.cached : undefined;
  // On a phone it lies below the form.
  useEffect(() => {
    if (shown && matchMedia('(max-width: 720px)').matches) place.current?.scrollIntoView();
  }, [shown]);
  return (
    <section ref={place} class="stage" aria-label="Picture">
      {now.kind === 'compare' ? (
        <Comparison key={now.cached} cached={now.cached} exact={now.exact} />
      ) : now.kind === 'job' ? (
        <JobStage key={now.id} id={now.id} />
      ) : (
        <Empty />
      )}
    </section>
  );
}

function Empty() {
  return (
    <div class="empty">
      <svg viewBox="0 0 120 48" aria-hidden="true">
        {[30, 40, 26, 12, 34, 9, 14, 28, 7, 10, 13, 24].map((height, i) => (
          <rect
            key={i}
            class={height < 20 ? 'reused' : 'computed'}
            x={i * 10 + 1}
            y={46 - height}
            width="8"
            height={height}
            rx="2"
          />
        ))}
      </svg>
      <h2>Nothing drawn yet</h2>
      <p>Say what you would like to see, and press Draw. Each step shows here as it is computed, or forecast.</p>
    </div>
  );
}
