/** The few icons of the page: lines on a grid of 16. */
const paths = {
  dice: 'M3 3h10v10H3zM5.75 5.75h.01M10.25 5.75h.01M8 8h.01M5.75 10.25h.01M10.25 10.25h.01',
  swap: 'M5 3 2.5 5.5 5 8M2.5 5.5h9M11 8l2.5 2.5L11 13M13.5 10.5h-9',
  reset: 'M3 8a5 5 0 1 0 1.6-3.7M3 2.5v2.8h2.8',
  close: 'M4 4l8 8M12 4l-8 8',
  download: 'M8 2.5v7.5M4.75 7 8 10.25 11.25 7M3 13.25h10',
  trash: 'M3 4.5h10M6.25 4.5V3h3.5v1.5M4.5 4.5l.5 8.5h6l.5-8.5M6.75 7v3.75M9.25 7v3.75',
  settings: 'M2.5 5h5.5M11 5h2.5M2.5 11H5M8 11h5.5M9.5 3.5v3M6.5 9.5v3',
  compare: 'M8 2v12M3 4h3v8H3zM10 4h3v8h-3z',
  picture: 'M2.5 3h11v10h-11zM2.5 10.5l3-3 3 3 2-2 3 3M10.5 6h.01',
  sun: 'M8 5.25a2.75 2.75 0 1 1 0 5.5 2.75 2.75 0 0 1 0-5.5zM8 1.5v1M8 13.5v1M1.5 8h1M13.5 8h1M3.4 3.4l.7.7M11.9 11.9l.7.7M3.4 12.6l.7-.7M11.9 4.1l.7-.7',
  moon: 'M12.75 9.75A5.25 5.25 0 0 1 6.25 3.25a5.25 5.25 0 1 0 6.5 6.5z',
  auto: 'M8 2.5a5.5 5.5 0 1 1 0 11 5.5 5.5 0 0 1 0-11zM8 2.5v11',
  key: 'M9.75 2.5a3.75 3.75 0 1 1-2.4 6.6L3 13.5h-.5v-2h1.75V9.75H6L6.6 8.5a3.75 3.75 0 0 1 3.15-6zM10.75 5.25h.01',
  chevron: 'M6 4l4 4-4 4',
} as const;

export type IconName = keyof typeof paths;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" aria-hidden="true">
      <path d={paths[name]} />
    </svg>
  );
}

interface IconButtonProps {
  icon: IconName;
  /** Read aloud, and shown where the pointer rests. */
  label: string;
  onClick(): void;
  class?: string;
}

export function IconButton({ icon, label, onClick, class: className = '' }: IconButtonProps) {
  return (
    <button type="button" class={`icon-button ${className}`} aria-label={label} title={label} onClick={onClick}>
      <Icon name={icon} />
    </button>
  );
}
