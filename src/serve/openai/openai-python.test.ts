/** The real Python client of OpenAI, where there is a Python that has it: `PYTHON`, or `python3`. */
import { execFile, spawnSync } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { listen } from '../listen.ts';
import { startServer } from '../testing/start.ts';

const python = process.env['PYTHON'] ?? 'python3';
const isThere = spawnSync(python, ['-c', 'import openai']).status === 0;
if (!isThere) console.warn(`NOT CHECKED: ${python} has no package openai, so no Python client asks the server`);

const script = `
import base64, io, json, sys
from openai import OpenAI, BadRequestError, AuthenticationError, NotFoundError
url = sys.argv[1]
client = OpenAI(base_url=url, api_key="secret")
own = {"seed": 7, "num_inference_steps": 2}
result = {"models": [model.id for model in client.models.list()]}
image = client.images.generate(model="gpt-image-1", prompt="red apple", size="64x64", n=2, extra_body=own)
pictures = [base64.b64decode(one.b64_json) for one in image.data]
result["pictures"] = [picture[:4].hex() for picture in pictures]
result["size"] = image.size
file = ("apple.png", pictures[0], "image/png")
edit = client.images.edit(image=[file, file], n=2, prompt="green apple", size="64x64", extra_body={**own, "strength": 0.5})
result["edit"] = len(edit.data)
result["variation"] = len(client.images.create_variation(image=file, size="64x64").data)
events = client.images.generate(prompt="pizza", size="64x64", stream=True, partial_images=1, extra_body={**own, "num_inference_steps": 3})
result["events"] = [event.type for event in events]
def refused(call, kind):
    try:
        call()
    except kind as error:
        return [error.status_code, error.param]
result["wrong"] = refused(lambda: client.images.generate(prompt="a", size="63x63"), BadRequestError)
result["nobody"] = refused(lambda: client.images.generate(prompt="a", model="nobody"), NotFoundError)
result["key"] = refused(lambda: OpenAI(base_url=url, api_key="guess").models.list(), AuthenticationError)
print(json.dumps(result))
`;

describe.skipIf(!isThere)('the openai package of Python', () => {
  it('draws, edits, streams, and understands what is refused', { timeout: 120_000 }, async () => {
    const server = await startServer({ apiKey: 'secret' });
    const { address, close } = await listen(server, { port: 0 });
    const { stdout } = await promisify(execFile)(python, ['-c', script, `${address}/v1`]);
    await close();
    expect(JSON.parse(stdout)).toEqual({
      models: ['emoji-flux'],
      pictures: ['89504e47', '89504e47'],
      size: '64x64',
      edit: 2,
      variation: 1,
      events: ['image_generation.partial_image', 'image_generation.completed'],
      wrong: [400, 'width'],
      nobody: [404, 'model'],
      key: [401, null],
    });
  });
});
