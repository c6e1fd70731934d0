/** Two pictures to look at: under a slider, side by side, or where they differ. */
import { useEffect, useRef, useState } from 'preact/hooks';
import { Segments } from '../parts/segments.tsx';

interface ViewsProps {
  cached: string | undefined;
  exact: string | undefined;
  /** Of width to height, as CSS has it. */
  ratio: string;
  /** Where they differ, brightened; once both are there. */
  difference: ((gain: number) => ImageData | undefined) | undefined;
}

const kinds = ['Slider', 'Side by side', 'Difference'] as const;
const gains = [1, 4, 16, 64];
const named = <Name extends string>(value: Name) => ({ value, label: value });

export function Views({ cached, exact, ratio, difference }: ViewsProps) {
  const [kind, setKind] = useState<(typeof kinds)[number]>('Slider');
  const [gain, setGain] = useState(16);
  return (
    <div class="views">
      <div class="views-bar">
        <Segments label="View" choices={kinds.map(named)} value={kind} onChange={setKind} />
        {kind === 'Difference' && (
          <Segments
            label="Brightened"
            choices={gains.map((value) => ({ value, label: `${value}×` }))}
            value={gain}
            onChange={setGain}
          />
        )}
      </div>
      {kind === 'Slider' && <Slider cached={cached} exact={exact} ratio={ratio} />}
      {kind === 'Side by side' && (
        <div class="side-by-side">
          <Framed source={cached} name="cached" ratio={ratio} />
          <Framed source={exact} name="computed" ratio={ratio} />
        </div>
      )}
      {kind === 'Difference' && <Difference picture={difference?.(gain)} ratio={ratio} gain={gain} />}
    </div>
  );
}

function Framed({ source, name, ratio }: { source: string | undefined; name: string; ratio: string }) {
  return (
    <div class="frame" style={{ aspectRatio: ratio }}>
      {source && <img src={source} alt={`the picture, ${name}`} />}
      <span class="badge">{name}</span>
    </div>
  );
}

function Slider({ cached, exact, ratio }: Omit<ViewsProps, 'difference'>) {
  const [at, setAt] = useState(50);
  return (
    <div class="frame slider" style={{ aspectRatio: ratio }}>
      {cached && <img src={cached} alt="the picture, cached" />}
      {exact && (
        <img class="above" src={exact} alt="the picture, computed" style={{ clipPath: `inset(0 0 0 ${at}%)` }} />
      )}
      <span class="badge">cached</span>
      <span class="badge right">computed</span>
      {exact && (
        <>
          <span class="divider" style={{ left: `${at}%` }} aria-hidden="true" />
          <input
            type="range"
            aria-label="How much is of the cached picture"
            min={0}
            max={100}
            step={0.5}
            value={at}
            onInput={({ currentTarget }) => setAt(Number(currentTarget.value))}
          />
        </>
      )}
    </div>
  );
}

function Difference({ picture, ratio, gain }: { picture: ImageData | undefined; ratio: string; gain: number }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    if (picture) canvas.current?.getContext('2d')?.putImageData(picture, 0, 0);
  }, [picture]);
  return (
    <div class="frame" style={{ aspectRatio: ratio }}>
      <canvas
        ref={canvas}
        role="img"
        aria-label={`where the pictures differ, ${gain} times as bright`}
        width={picture?.width ?? 1}
        height={picture?.height ?? 1}
      />
    </div>
  );
}
