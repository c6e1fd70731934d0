/** The studio: puts the page together, and listens to its keys. */
import { render } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { Panel } from './form/panel.tsx';
import { Header } from './header.tsx';
import { KeyDialog } from './key-dialog.tsx';
import { Rail } from './rail/rail.tsx';
import { Stage } from './stage/stage.tsx';
import { compare, draw } from './state/form.ts';
import { active, end, startRefreshing } from './state/jobs.ts';
import { route } from './state/route.ts';

function Studio() {
  const [asking, setAsking] = useState(false);
  useEffect(() => {
    addEventListener('keydown', onKey);
    return () => removeEventListener('keydown', onKey);
  }, []);
  return (
    <>
      <Header onKey={() => setAsking(true)} />
      <main>
        <Panel />
        <Stage />
        <Rail />
      </main>
      <KeyDialog open={asking} onClose={() => setAsking(false)} />
    </>
  );
}

/** Ctrl+Enter draws, with Shift it compares; Esc ends what the stage shows. */
function onKey(event: KeyboardEvent): void {
  if (event.defaultPrevented || document.querySelector('dialog[open]')) return;
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    void (event.shiftKey ? compare() : draw());
  } else if (event.key === 'Escape') {
    const now = route.value;
    const shown = now.kind === 'job' ? [now.id] : now.kind === 'compare' ? [now.cached, now.exact] : [];
    const running = active.value.find(({ id }) => shown.includes(id));
    if (running) void end(running.id);
  }
}

startRefreshing();
render(<Studio />, document.getElementById('studio')!);
