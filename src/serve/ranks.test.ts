/** A server whose models are on ranks: what it draws, for several at once, is what one without draws. */
import { describe, expect, it } from 'vitest';
import { Image } from '../images/image.ts';
import { createServer } from './server.ts';
import { ask, levels, startServer } from './testing/start.ts';

const parallelismConfig = { ulysses_size: 2, parallel_text_encoder: true };
const requests = ['red apple', 'pizza'].map((prompt, seed) => ({
  ...{ prompt, seed, n: 1, size: '64x64', num_inference_steps: 2 },
  response_format: 'b64_json',
}));

describe('a server on ranks', () => {
  it('draws what one without draws', async () => {
    const [plain, ranked] = [
      await startServer(),
      await startServer({ cache: { cacheConfig: null, parallelismConfig } }),
    ];
    const draw = async (server: typeof plain) =>
      Promise.all(
        requests.map(async (body) => {
          const answer = await ask<{ data: { b64_json: string }[] }>(server, '/v1/images/generations', { body });
          expect(answer).toMatchObject({ status: 200 });
          return Image.load(Buffer.from(answer.body.data[0]!.b64_json, 'base64'));
        }),
      );
    const [expected, drawn] = [await draw(plain), await draw(ranked)];
    for (const [i, image] of drawn.entries()) expect(levels(image, expected[i]!)).toBeLessThanOrEqual(1);
  });

  it.each([
    [{ cfgSize: 2 }, /cache\.parallelismConfig\.cfgSize: a server computes requests together/],
    [{ ulyssesSize: 'auto' as const }, /cache\.parallelismConfig\.ulyssesSize: auto is what a job of MPI has/],
    [{ tp_sice: 2 }, /cache\.parallelismConfig: unknown key "tp_sice"/],
  ])('refuses %j', (options, message) => {
    expect(() => createServer({ cache: { cacheConfig: null, parallelismConfig: options } })).toThrow(message);
  });
});
