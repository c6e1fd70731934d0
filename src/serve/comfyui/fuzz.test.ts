/** Graphs that nobody drew: known ones with something changed, and nodes linked at random. None may be the server's fault. */
import { beforeAll, expect, it } from 'vitest';
import { fractions } from '../../files/testing/fuzz.ts';
import type { Server } from '../server.ts';
import { ask, startServer } from '../testing/start.ts';
import { nodeClasses } from './nodes/nodes.ts';
import { graph, type Nodes, type Refusal, send } from './testing.ts';

const next = fractions(11);
const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)]!;

const hostile: readonly unknown[] = [
  null,
  true,
  -1,
  0.5,
  1e308,
  2 ** 64,
  '',
  'NaN',
  '../../etc/passwd',
  '__proto__',
  '\u0000\ud800',
  'x'.repeat(5000),
  [],
  [[]],
  ['3', 0],
  ['3', 99],
  [3, 0],
  ['constructor', 0],
  ['__proto__', '0'],
  {},
  { bytes: 'x' },
];

let server: Server;
beforeAll(async () => {
  server = await startServer({ maxSteps: 2, maxPixels: 96 * 96, maxImages: 1, maxQueued: 2000, timeout: 20 });
  const pixel = Buffer.from(
    'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==',
    'base64',
  );
  await send(server, '/upload/image', { image: new Blob([pixel]) });
});

/** A value that an input can have, or one that it cannot. */
function someValue(spec: (typeof nodeClasses)[string]['inputs'][string], nodes: Nodes): unknown {
  if (next() < 0.04) return pick(hostile);
  switch (spec.type) {
    case 'INT':
    case 'FLOAT':
      return Math.min(spec.max, Math.max(spec.min, pick([spec.min, spec.max, spec.default, 1, 2, 64])));
    case 'BOOLEAN':
      return next() < 0.5;
    case 'STRING':
      return pick(['red apple', '', 'a/../b', '{"Fn_compute_blocks": 1}']);
    case 'COMBO':
      return pick([...spec.choices({ core: server.core, uploads: undefined as never }), 'odd']);
    case 'UPLOAD':
      return 'start.png';
    default: {
      const fitting = Object.entries(nodes).flatMap(([id, { class_type: name }]) =>
        (nodeClasses[name]?.outputs ?? []).flatMap(([type], i) => (type === spec.type ? [[id, i]] : [])),
      );
      return fitting.length > 0 ? pick(fitting) : pick(hostile);
    }
  }
}

/** Nodes of any classes, each linked to those before it, with something to save. */
function linked(): Nodes {
  const nodes: Nodes = {};
  const names = Object.keys(nodeClasses);
  const loads = ['CheckpointLoaderSimple', 'CLIPTextEncode', 'EmptyLatentImage', 'LoadImage', 'VAEEncode'];
  const draws = ['KSampler', 'VAEDecode', 'SaveImage'];
  const chosen = [...loads, ...Array.from({ length: Math.floor(next() * 12) }, () => pick(names)), ...draws];
  for (const [i, name] of chosen.entries()) {
    const inputs = Object.entries(nodeClasses[name]!.inputs).map(([input, spec]) => [input, someValue(spec, nodes)]);
    nodes[pick([String(i), `n${i}`])] = { class_type: name, inputs: Object.fromEntries(inputs) };
  }
  return nodes;
}

/** A good graph with an input, a link or a class that is another. */
function altered(): Nodes {
  const nodes = graph({ 3: { steps: 1, seed: Math.floor(next() * 50) } });
  for (let i = 0; i < 1 + next() * 2; i++) {
    const node = nodes[pick(Object.keys(nodes))]!;
    const input = pick(Object.keys(node.inputs));
    const spec = nodeClasses[node.class_type]?.inputs[input];
    const change = next();
    if (change < 0.1) node.class_type = pick([...Object.keys(nodeClasses), 'Odd', 'toString', '__proto__']);
    else if (change < 0.2) delete node.inputs[input];
    else if (change < 0.3) nodes[pick(['__proto__x', 'constructor', '3', ''])] = structuredClone(node);
    else if (change < 0.5 || !spec) node.inputs[input] = pick(hostile);
    else node.inputs[input] = someValue(spec, nodes);
  }
  return nodes;
}

it('answers graphs that are made at random, with their prompts or with what is wrong', {
  timeout: 300_000,
}, async () => {
  const answered = { 200: 0, 400: 0 };
  for (let i = 0; i < 400; i++) {
    const prompt = i % 2 === 0 ? altered() : linked();
    const about = `${i}: ${JSON.stringify(prompt)}`;
    const { status, body } = await ask<Partial<Refusal> & { prompt_id?: string }>(server, '/prompt', {
      body: { prompt },
    });
    expect([200, 400], about).toContain(status);
    answered[status as 200 | 400]++;
    if (status === 200) continue;
    expect(body.error?.type, about).toMatch(/^[a-zA-Z_]+$/);
    for (const { class_type: name, errors } of Object.values(body.node_errors ?? {})) {
      expect(typeof name, about).toBe('string');
      expect(errors.length, about).toBeGreaterThan(0);
    }
  }
  expect(answered[200]).toBeGreaterThan(20);
  expect(answered[400]).toBeGreaterThan(100);
  const { running, queued } = server.core.jobs.list();
  for (const { id } of [...running, ...queued]) await server.core.jobs.finished(id);
  for (const { error } of server.core.jobs.list().finished) expect(error?.message).not.toBe('internal error');
  const { status } = await ask(server, '/history');
  expect(status).toBe(200);
});
