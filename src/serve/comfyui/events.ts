/** What happens to jobs, as ComfyUI tells it: to the client that sent the prompt, and to the prompt's history. */
import type { Logger } from 'pino';
import type { Job, JobEvent } from '../jobs/job.ts';
import type { Prompt, Prompts } from './prompts.ts';
import type { Sockets } from './sockets.ts';

export class Events {
  constructor(
    private readonly prompts: Prompts,
    private readonly sockets: Sockets,
    private readonly log: Logger,
  ) {}

  hear(job: Job, event: JobEvent): void {
    const prompt = this.prompts.of(job);
    if (!prompt) return;
    switch (event.type) {
      case 'started':
        this.started(prompt);
        break;
      case 'step':
        this.stepped(prompt, event);
        return;
      case 'preview':
        this.sockets.sendPreview(prompt.client, event.file.bytes);
        return;
      case 'done':
        this.done(prompt, job);
        break;
      case 'failed':
        this.ended(prompt, 'execution_error', {
          exception_message: event.error.message,
          exception_type: event.error.code,
          traceback: [],
          current_inputs: {},
          current_outputs: [],
        });
        break;
      case 'cancelled':
        // One that never ran leaves no history, as there.
        if (job.startedAt === undefined) this.prompts.forget(prompt);
        else this.ended(prompt, 'execution_interrupted', {});
        break;
      default:
        return;
    }
    // After history has it: clients look there when it has left the queue.
    this.sockets.sendStatus();
  }

  /** A job may begin before its prompt is known. */
  started(prompt: Prompt): void {
    const { drawing, order } = prompt.read;
    prompt.messages = [];
    this.record(prompt, 'execution_start', {});
    this.record(prompt, 'execution_cached', { nodes: [] });
    for (const node of order.slice(0, order.indexOf(drawing.node) + 1)) this.executing(prompt, node);
  }

  /** Of a prompt that another one's job answers. @param same nodes that show the same files as there */
  answered(prompt: Prompt, same: ReadonlySet<string>): void {
    const { order } = prompt.read;
    const isNew = (node: string) => prompt.read.outputs.some((output) => output.node === node) && !same.has(node);
    this.record(prompt, 'execution_start', {});
    this.record(prompt, 'execution_cached', { nodes: order.filter((node) => !isNew(node)) });
    for (const node of order) {
      if (isNew(node)) this.executing(prompt, node);
      this.executed(prompt, node);
    }
    this.succeeded(prompt);
    this.sockets.sendStatus();
  }

  private stepped(prompt: Prompt, { step, steps }: { step: number; steps: number }): void {
    const { node } = prompt.read.drawing;
    const progress = { value: step, max: steps, prompt_id: prompt.id, node };
    this.sockets.send(prompt.client, 'progress', progress);
    const state = {
      value: step,
      max: steps,
      state: step < steps ? 'running' : 'finished',
      node_id: node,
      prompt_id: prompt.id,
      display_node_id: node,
      parent_node_id: null,
      real_node_id: node,
    };
    this.sockets.send(prompt.client, 'progress_state', { prompt_id: prompt.id, nodes: { [node]: state } });
  }

  private done(prompt: Prompt, job: Job): void {
    const { drawing, order } = prompt.read;
    this.prompts.show(prompt, job);
    for (const node of drawing.summaries) {
      this.executed(prompt, node);
      this.log.info({ prompt: prompt.id, node, summary: prompt.outputs.get(node)?.text?.[0] }, 'cache summary');
    }
    for (const node of order.slice(order.indexOf(drawing.node) + 1)) {
      this.executing(prompt, node);
      this.executed(prompt, node);
    }
    this.succeeded(prompt);
  }

  private succeeded(prompt: Prompt): void {
    this.record(prompt, 'execution_success', {});
    this.sockets.send(prompt.client, 'executing', { node: null, prompt_id: prompt.id });
  }

  /** What a node shows, if it shows something. */
  private executed(prompt: Prompt, node: string): void {
    const output = prompt.outputs.get(node);
    const data = { node, display_node: node, output, prompt_id: prompt.id };
    if (output) this.sockets.send(prompt.client, 'executed', data);
  }

  private ended(prompt: Prompt, event: string, more: object): void {
    const { drawing, order } = prompt.read;
    this.record(prompt, event, {
      node_id: drawing.node,
      node_type: prompt.graph[drawing.node]!.class_type,
      executed: order.slice(0, order.indexOf(drawing.node)),
      ...more,
    });
    this.sockets.send(prompt.client, 'executing', { node: null, prompt_id: prompt.id });
  }

  private executing(prompt: Prompt, node: string): void {
    this.sockets.send(prompt.client, 'executing', { node, display_node: node, prompt_id: prompt.id });
  }

  private record(prompt: Prompt, event: string, more: object): void {
    const data = { prompt_id: prompt.id, ...more, timestamp: Date.now() };
    prompt.messages.push([event, data]);
    this.sockets.send(prompt.client, event, data);
  }
}
