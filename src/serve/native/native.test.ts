/** What the protocol of jobs has beside their course, which is in `server.test.ts`. */
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Image } from '../../images/image.ts';
import { catalogue, optionNames } from '../../pipelines/schema/catalogue.ts';
import { imageLists, images } from '../../pipelines/schema/kinds.ts';
import type { OptionName } from '../../pipelines/schema/options.ts';
import { bundledModel } from '../../weights/bundled-model.ts';
import { pictureOptions } from '../jobs/job.ts';
import type { Server } from '../server.ts';
import { ask, startServer } from '../testing/start.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'deja-dit-native-'));
const small = { prompt: 'red apple', seed: 7, width: 32, height: 32, numInferenceSteps: 2 };

interface Job {
  id: string;
  state: string;
  options: Record<string, unknown>;
  report: Record<string, unknown> | null;
}

let server: Server;
beforeAll(async () => {
  const second = path.join(folder, 'second');
  cpSync(bundledModel(), second, { recursive: true, filter: (file) => !file.includes('reference') });
  server = await startServer({ model: [bundledModel(), second] });
});
afterAll(() => rmSync(folder, { recursive: true }));

const draw = async (body: object, at = '/v1/jobs'): Promise<Job> => {
  const { body: made } = await ask<Job>(server, at, { body });
  await server.core.jobs.finished(made.id);
  return (await ask<Job>(server, `/v1/jobs/${made.id}`)).body;
};

it('draws a job again, with its picture, and with other settings where they are given', async () => {
  const picture = new Image({ width: 8, height: 8, channels: 3, data: new Uint8Array(192).fill(99) });
  const image = Buffer.from(await picture.encode('png'));
  const first = await draw({ ...small, image: image.toString('base64'), cache: true, output: { format: 'webp' } });
  const again = await draw({ cache: false, seed: 8 }, `/v1/jobs/${first.id}/again`);
  expect(again).toMatchObject({
    state: 'done',
    options: { prompt: 'red apple', seed: 8, cache: false, image: { size: image.length } },
    files: [{ type: 'image/webp', width: 32 }],
  });
  expect((await ask(server, '/v1/jobs/none/again', { body: {} })).status).toBe(404);
});

it('lists as many as are asked for, without what the caches did where that is too long', async () => {
  await draw({ ...small, cache: true });
  const list = async (query: string) => (await ask<{ data: Job[] }>(server, `/v1/jobs?${query}`)).body.data;
  const [job, ...others] = await list('limit=1&summary=false');
  expect(others).toEqual([]);
  expect(job!.report).toMatchObject({ seed: 7, steps: 2 });
  expect(job!.report).not.toHaveProperty('summary');
  expect((await list('limit=1'))[0]!.report).toHaveProperty('summary');
  expect(await ask(server, '/v1/jobs?limit=few')).toMatchObject({ status: 400, body: { error: { param: 'limit' } } });
});

it('loads a model ahead of need', async () => {
  expect((await ask(server, '/v1/models/second')).body).toMatchObject({ state: 'unloaded' });
  expect((await ask(server, '/v1/models/second/load', { method: 'POST' })).status).toBe(202);
  await expect
    .poll(async () => (await ask(server, '/v1/models/second')).body['state'], { timeout: 60_000, interval: 100 })
    .toBe('loaded');
  expect((await ask(server, '/v1/models/third/load', { method: 'POST' })).status).toBe(404);
});

it('tells the options that requests may bring, in groups, and that pictures are bytes', async () => {
  const { body } = await ask<{
    options: { properties: Record<string, object> };
    groups: { title: string; options: string[] }[];
  }>(server, '/v1/models/emoji-flux');
  const names = Object.keys(body.options.properties);
  expect(body.groups.flatMap(({ options }) => options).sort()).toEqual(names.sort());
  expect(JSON.stringify(body.options.properties['image'])).toContain('"contentMediaType":"image/*"');
  // What is offered is taken, whatever else the pipeline may have.
  for (const name of names) {
    const { status, body: answer } = await ask(server, '/v1/jobs', { body: { ...small, [name]: null } });
    expect(status, JSON.stringify(answer)).toBe(202);
  }
});

it('knows every option that is a picture', () => {
  const isOfPictures = (name: OptionName) => catalogue[name].value === images || catalogue[name].value === imageLists;
  expect(optionNames.filter(isOfPictures).sort()).toEqual([...pictureOptions].sort());
});

it.each(pictureOptions)('takes no path of the server’s own for %s', async (name) => {
  const file = path.join(bundledModel(), 'model_index.json');
  expect(await ask(server, '/v1/jobs', { body: { ...small, [name]: file } })).toMatchObject({
    status: 400,
    body: { error: { param: name, message: `${name}: is neither base64 nor a data: URL of a picture` } },
  });
});
