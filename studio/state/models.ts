/** The server's models, the one that is drawn with, and whether the server is still the one that it was. */
import { computed, signal } from '@preact/signals';
import { ApiError, json, request } from '../api/client.ts';
import type { ModelView } from '../api/types.ts';
import { stored } from './stored.ts';

export const models = signal<readonly ModelView[]>([]);
export const modelName = stored('model', '');
/** Says that the server has begun anew since the page was opened. */
export const restarted = signal(false);

/** The default one, until another is chosen. */
export const model = computed(() => models.value.find(({ id }) => id === modelName.value) ?? models.value[0]);

export async function refreshModels(): Promise<void> {
  const { data } = await json<{ data: ModelView[] }>('/v1/models');
  const [before, now] = [models.peek()[0]?.created, data[0]?.created];
  if (before !== undefined && now !== before) restarted.value = true;
  models.value = data;
}

/** Asked to be loaded. */
const asked = new Set<string>();

/** Whether a model is on its way. */
export const isLoading = (): boolean =>
  models.peek().some(({ id, state }) => state === 'loading' || (asked.has(id) && state === 'unloaded'));

/** @returns what is wrong, if it cannot be */
export async function loadModel(name: string): Promise<string | undefined> {
  try {
    await request(`/v1/models/${encodeURIComponent(name)}/load`, { method: 'POST' });
    asked.add(name);
    await refreshModels();
    return undefined;
  } catch (error) {
    if (error instanceof ApiError) return error.message;
    throw error;
  }
}
