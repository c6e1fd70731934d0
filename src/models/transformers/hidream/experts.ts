/**
 * HiDream's mixture of experts: gated MLPs of which each token takes a few, and one that all take. Every expert is computed for every
 * token here, and those that were not chosen weigh nothing: the portable operators cannot send tokens to experts.
 */

import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { gatedFeedForward, gatedWidth, linear } from '../../../nn/linear.ts';
import { layer, type Module } from '../../../nn/module.ts';
import { floatTensor } from '../../../tensor/tensor.ts';

export interface ExpertOptions {
  /** None: a plain gated MLP. */
  experts: number;
  chosenExperts: number;
}

/** x [B, S, D] → [B, S, D]. */
export const mixtureOfExperts = layer(
  (m, x: SymbolicTensor, { experts, chosenExperts }: ExpertOptions): SymbolicTensor => {
    const width = x.dim(-1);
    if (experts === 0) return expert(m, x, 4 * width);
    return routing(m.at('gate'), x, { experts, chosenExperts })
      .chunk<number>(experts)
      .map((weight, i) => expert(m.at(`experts.${i}`), x, 4 * width).mul(weight))
      .reduce((sum, part) => sum.add(part), expert(m.at('shared_experts'), x, 2 * width));
  },
);

const expert = (m: Module, x: SymbolicTensor, plainWidth: number): SymbolicTensor =>
  gatedFeedForward(m, x, {
    inner: gatedWidth(plainWidth, 256),
    names: { gate: 'w1', value: 'w3', out: 'w2' },
    bias: false,
  });

/** What each expert weighs for each token, [B, S, E]; all in one module, so that float16 does not make near scores equal. */
const routing = layer((m, x: SymbolicTensor, { experts, chosenExperts }: ExpertOptions): SymbolicTensor => {
  return chosenWeights(linear(m, x, experts, { bias: false }).softmax(), chosenExperts);
});

/** Keeps the `count` largest of the scores [B, S, E] and sets the others to 0; of equal ones the first come first. */
function chosenWeights(scores: SymbolicTensor, count: number): SymbolicTensor {
  const experts = scores.dim(-1);
  const [own, others] = [scores.unsqueeze(-1), scores.unsqueeze(-2)];
  const isBefore = Float32Array.from({ length: experts ** 2 }, (_, i) =>
    i % experts < Math.floor(i / experts) ? 1 : 0,
  );
  const equalAndBefore = own
    .equal(others)
    .cast('float32')
    .mul(scores.graph.constant(floatTensor(isBefore, [experts, experts])));
  const rank = others.greater(own).cast('float32').add(equalAndBefore).sum(-1, false);
  const isChosen = rank
    .mul(0)
    .add(count - 0.5)
    .greater(rank);
  return scores.mul(isChosen.cast('float32'));
}
