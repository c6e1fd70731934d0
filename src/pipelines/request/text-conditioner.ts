/** A transformer between text encoder and denoiser, which a request calls once for a prompt. */
import type { ForwardInputs } from '../../models/inputs.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import type { Tensor } from '../../tensor/tensor.ts';

export class TextConditioner {
  constructor(readonly model: TransformerModel) {}

  async run(inputs: ForwardInputs, signal?: AbortSignal): Promise<Tensor> {
    const { sample } = await this.model.forward(inputs, { signal });
    return sample as Tensor;
  }

  dispose(): Promise<void> {
    return this.model.dispose();
  }
}
