/**
 * What an engine's models compute on: a backend for each of them, which goes with it, or on a GPU one for all, since ONNX Runtime's
 * WebGPU is for one thread of a process. In threads of their own always: runs block theirs, and the engine's has to hear of cancelled
 * tasks.
 */
import { DejaDitError } from '../../errors/errors.ts';
import type { ProgramOptions } from '../../models/load/programs.ts';
import { type CreateBackendOptions, createBackend } from '../../runtime/create-backend.ts';
import { ProgramCache } from '../../runtime/program-cache.ts';
import type { ServerOptions } from '../settings.ts';

export class ModelBackends {
  private gpu: Promise<ProgramCache | undefined> | undefined;

  constructor(private readonly options: Pick<ServerOptions, 'backend' | 'threads' | 'maxProgramBytes'>) {}

  /** What the next model is to be loaded with. @throws DejaDitError UNSUPPORTED if the GPU that was asked for cannot be used */
  async forModel(): Promise<ProgramOptions> {
    const { backend, threads, maxProgramBytes } = this.options;
    const programs = await this.onGpu();
    if (programs) return { programs };
    return { backend: backend === 'auto' ? undefined : backend, worker: true, threads, maxProgramBytes };
  }

  async dispose(): Promise<void> {
    const programs = await this.gpu?.catch(() => undefined);
    await programs?.backend.dispose();
  }

  private async onGpu(): Promise<ProgramCache | undefined> {
    const { backend, threads } = this.options;
    if (backend !== 'webgpu' && backend !== 'auto') return undefined;
    // One whose thread was lost is no good to the models to come; a failure is told each time.
    const made = await this.gpu?.catch(() => undefined);
    if (!this.gpu || made?.backend.closed)
      this.gpu = this.openGpu({ backend: 'webgpu', worker: true, ...(backend === 'webgpu' ? { threads } : {}) });
    return this.gpu;
  }

  private async openGpu(options: CreateBackendOptions): Promise<ProgramCache | undefined> {
    try {
      return new ProgramCache(await createBackend(options), { maxBytes: this.options.maxProgramBytes });
    } catch (error) {
      const canDoWithout =
        this.options.backend === 'auto' && error instanceof DejaDitError && error.code === 'UNSUPPORTED';
      if (canDoWithout) return undefined;
      throw error;
    }
  }
}
