/** Whose turn it is: the requests of an engine take their steps in rounds, in which what can be computed together is. */
import type { PipelineRequest } from '../../pipelines/request/request.ts';
import { stepsTogether } from '../../pipelines/request/steps-together.ts';

interface Waiting {
  request: PipelineRequest;
  resolve(end: Promise<void>): void;
}

export class StepBatcher {
  private waiting: Waiting[] = [];
  private isRunning = false;

  /** Takes a request's next step in the next round. */
  step(request: PipelineRequest): Promise<void> {
    return new Promise((resolve) => {
      this.waiting.push({ request, resolve });
      if (!this.isRunning) void this.run();
    });
  }

  private async run(): Promise<void> {
    this.isRunning = true;
    // Whoever has ended a step asks for the next one within a turn of the event loop; newcomers join them.
    for (await turn(); this.waiting.length > 0; await turn()) {
      const round = this.waiting.splice(0);
      // Whoever still looks at a preview joins a later round.
      const ends = await stepsTogether(round.map(({ request }) => request.denoising));
      for (const [i, { resolve }] of round.entries()) resolve(ends[i]!);
    }
    this.isRunning = false;
  }
}

const turn = () => new Promise((resolve) => setImmediate(resolve));
