/** The form: what to draw, with which settings, and the two buttons that it is for. */
import { useEffect, useState } from 'preact/hooks';
import { Icon, IconButton } from '../parts/icons.tsx';
import {
  clearError,
  compare,
  draw,
  errors,
  fields,
  hasPicture,
  negativePrompt,
  previews,
  prompt,
  randomSeed,
  ready,
  seed,
  values,
} from '../state/form.ts';
import { CacheField } from './cache-field.tsx';
import { FieldRow, Labelled } from './field.tsx';
import { type Field, ofPictures } from './fields.ts';
import { SizeField } from './size-field.tsx';

export function Panel() {
  const { main, more, all } = fields.value;
  const sides = main.filter(({ name }) => name === 'width' || name === 'height');
  return (
    <form
      class="panel"
      aria-label="What to draw"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        void draw();
      }}
    >
      <div class="panel-scroll">
        {(all.size === 0 || all.has('prompt') || all.has('classLabels')) && <Prompts />}
        <div class="fields">
          {main
            .filter(({ name }) => !(sides.length === 2 && name === 'height'))
            .filter(({ name }) => hasPicture.value || !ofPictures.includes(name))
            .map((field) =>
              sides.length === 2 && field.name === 'width' ? (
                <SizeField key="size" width={field} height={all.get('height')!} />
              ) : (
                <FieldRow key={field.name} field={field} />
              ),
            )}
          <Seed />
        </div>
        {all.has('cache') && <CacheField />}
        {all.size > 0 ? (
          <More groups={more} />
        ) : (
          <p class="hint">What else can be set shows here when the model is loaded.</p>
        )}
      </div>
      <div class="actions">
        {errors.value['']?.length ? (
          <p class="error" role="alert">
            {errors.value['']}
          </p>
        ) : null}
        <button class="primary" type="submit" disabled={!ready.value} aria-keyshortcuts="Control+Enter">
          Draw <kbd>Ctrl ↵</kbd>
        </button>
        <button
          type="button"
          disabled={!ready.value}
          title="The same picture with the cache and without, side by side (Ctrl+Shift+Enter)"
          aria-keyshortcuts="Control+Shift+Enter"
          onClick={() => void compare()}
        >
          <Icon name="compare" /> A/B
        </button>
      </div>
    </form>
  );
}

function Prompts() {
  const { all } = fields.value;
  const [asked, setAsked] = useState(false);
  const open = asked || negativePrompt.value !== '';
  const subject = all.has('prompt') || !all.has('classLabels') ? 'Prompt' : 'Classes';
  return (
    <div class="prompts">
      <Labelled name="prompt" label={subject} help={subject === 'Prompt' ? '' : 'Numbers or names, with commas'}>
        {(props) => (
          <textarea
            {...props}
            class="prompt"
            rows={3}
            spellcheck={false}
            value={prompt.value}
            onInput={({ currentTarget }) => {
              prompt.value = currentTarget.value;
              clearError('prompt');
            }}
          />
        )}
      </Labelled>
      {all.has('negativePrompt') && !open && (
        <button type="button" class="link" onClick={() => setAsked(true)}>
          + Negative prompt
        </button>
      )}
      {all.has('negativePrompt') && open && (
        <Labelled name="negativePrompt" label="Negative prompt" help={all.get('negativePrompt')!.help}>
          {(props) => (
            <textarea
              {...props}
              rows={2}
              spellcheck={false}
              value={negativePrompt.value}
              onInput={({ currentTarget }) => {
                negativePrompt.value = currentTarget.value;
              }}
            />
          )}
        </Labelled>
      )}
    </div>
  );
}

function Seed() {
  return (
    <Labelled name="seed" label="Seed" help="Of the initial noise. Nothing: a new one each time." row>
      {(props) => (
        <span class="with-buttons">
          <input
            {...props}
            inputMode="numeric"
            placeholder="random"
            value={seed.value}
            onInput={({ currentTarget }) => {
              seed.value = currentTarget.value.trim();
              clearError('seed');
            }}
          />
          {seed.value !== '' && (
            <IconButton
              icon="reset"
              label="A new seed each time"
              onClick={() => {
                seed.value = '';
              }}
            />
          )}
          <IconButton
            icon="dice"
            label="Roll a seed"
            onClick={() => {
              seed.value = randomSeed();
              clearError('seed');
            }}
          />
        </span>
      )}
    </Labelled>
  );
}

function More({ groups }: { groups: readonly { title: string; fields: readonly Field[] }[] }) {
  const [open, setOpen] = useState(false);
  const inside = groups.flatMap((group) => group.fields.map(({ name }) => name));
  const changed = inside.filter((name) => values.value[name] !== undefined).length;
  const wrong = inside.some((name) => errors.value[name]);
  // An error must not hide.
  useEffect(() => {
    if (wrong) setOpen(true);
  }, [wrong]);
  return (
    <details class="more" open={open} onToggle={({ currentTarget }) => setOpen(currentTarget.open)}>
      <summary>
        <Icon name="chevron" /> All settings {changed > 0 && <span class="count">{changed} changed</span>}
      </summary>
      {open &&
        groups.map(({ title, fields }) => (
          <fieldset key={title}>
            <legend>{title}</legend>
            {fields.map((field) => (
              <FieldRow key={field.name} field={field} />
            ))}
          </fieldset>
        ))}
      {open && (
        <fieldset>
          <legend>While it draws</legend>
          <Labelled
            name="previews"
            label="Previews"
            help="Pictures of what it will become, each at the cost of a run of the autoencoder."
            row
          >
            {(props) => (
              <select
                {...props}
                value={String(previews.value)}
                onChange={({ currentTarget }) => {
                  previews.value = Number(currentTarget.value);
                }}
              >
                {[
                  [0, 'none'],
                  [4, 'a few'],
                  [10, 'many'],
                  [1000, 'every step'],
                ].map(([count, name]) => (
                  <option key={count} value={String(count)}>
                    {name}
                  </option>
                ))}
              </select>
            )}
          </Labelled>
        </fieldset>
      )}
    </details>
  );
}
