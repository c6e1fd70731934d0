/**
 * The protocol of ComfyUI: graphs at `/prompt`, what comes of them at `/ws`, `/history` and `/view`; every path also below `/api`. A
 * graph ends in one request of a pipeline (`graph/`); there are no files behind the names of pictures.
 */
import type { Skin } from '../core.ts';
import type { Problem } from '../http/problem.ts';
import { Events } from './events.ts';
import { GraphProblem } from './graph/graph.ts';
import { Prompts } from './prompts.ts';
import { addFileRoutes } from './routes/files.ts';
import { addListRoutes } from './routes/lists.ts';
import { routesOf, tag } from './routes/routes.ts';
import { addRunRoutes } from './routes/run.ts';
import { Sockets } from './sockets.ts';
import { Uploads } from './uploads.ts';

/** As many finished prompts as there may be finished jobs. */
const mostPrompts = 1000;

export const comfyuiSkin: Skin = {
  name: tag,
  paths: [
    ...['/prompt', '/queue', '/history', '/view', '/interrupt', '/free', '/object_info', '/system_stats', '/upload'],
    ...[
      '/features',
      '/embeddings',
      '/extensions',
      '/models',
      '/internal',
      '/users',
      '/settings',
      '/jobs',
      '/ws',
      '/api',
    ],
  ],
  error: (problem) => {
    const {
      details = problem.param ?? '',
      extra = {},
      nodes = {},
    } = problem instanceof GraphProblem ? problem.about : {};
    return {
      error: { type: typeOf(problem), message: problem.message, details, extra_info: extra },
      node_errors: nodes,
    };
  },
  routes(app, core) {
    const { jobs, settings, log } = core;
    const prompts = new Prompts(jobs, { count: mostPrompts, bytes: settings.keepMemory });
    const uploads = new Uploads({ bytes: settings.keepMemory, maxPixels: settings.maxPixels });
    const sockets = new Sockets(() => prompts.remaining);
    const events = new Events(prompts, sockets, log);
    jobs.watch((job, event) => events.hear(job, event));
    for (const path of ['/ws', '/api/ws']) app.get(path, sockets.handler);
    const parts = { core, prompts, uploads, sockets, events };
    const route = routesOf(app);
    addRunRoutes(route, parts);
    addFileRoutes(route, parts);
    addListRoutes(app, route, parts);
  },
};

/** What is wrong with a body that has no graph in it is told as ComfyUI does too. */
function typeOf({ code, param = '' }: Problem): string {
  if (param === 'prompt') return 'no_prompt';
  return param.startsWith('prompt.') ? 'invalid_prompt' : code;
}
