/** Tokens change places with heads: before attention every rank gets all tokens of its heads, afterwards all heads of its tokens. */
import { concat } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { sizeOf } from '../../../tensor/tensor.ts';
import { allToAll, inOrder, unpack } from '../exchanges.ts';
import { type Dealt, localSize } from '../layout.ts';
import type { Partition } from '../partition.ts';

/** How many heads each rank of the Ulysses group attends for; none if there are fewer heads than ranks. */
export interface HeadShares {
  p: Partition;
  heads: readonly number[];
}

/** What the ranks of one Ulysses group have of tokens that are dealt out to all groups. */
export function groupSegments(p: Partition, { segments }: Dealt, ring = p.place.ring): number[][] {
  const { ulysses } = p.mesh.size;
  return segments.map((parts) => parts.slice(ring * ulysses, (ring + 1) * ulysses));
}

export interface TokensInParts {
  q: SymbolicTensor;
  k: SymbolicTensor;
  v: SymbolicTensor;
  /** Of queries, and of keys and values. */
  tokens: readonly [Dealt, Dealt];
  /** Channels of a head of each. */
  perHead: readonly [number, number, number];
}

type Triple = [SymbolicTensor, SymbolicTensor, SymbolicTensor];

/** From [B, own tokens, heads · d] to [B, tokens of the group, own heads · d]; undefined on a rank without heads. */
export function toHeads({ p, heads }: HeadShares, parts: TokensInParts): Triple | undefined {
  const { q, k, v, tokens, perHead } = parts;
  if (heads.length === 1) return [q, k, v];
  const all: Triple = [q, k, v];
  const batch = q.dim(0);
  const own = heads[p.place.ulysses]!;
  const segments = all.map((_, i) => groupSegments(p, tokens[i === 0 ? 0 : 1]));
  const outgoing = all.map((x, i) =>
    splitHeads(
      x,
      heads.map((count) => count * perHead[i]!),
    ),
  );
  const shapes = heads.map((_, member) =>
    all.map((_, i) => [batch, segments[i]!.reduce((sum, segment) => sum + segment[member]!, 0), own * perHead[i]!]),
  );
  const groups = p.features.async ? [[2], [0], [1]] : [[0, 1, 2]];
  const incoming: (SymbolicTensor | undefined)[][] = all.map(() => []);
  for (const group of groups) {
    const received = allToAll(q, {
      group: 'ulysses',
      send: heads.map((_, member) => group.map((i) => outgoing[i]![member])),
      receive: shapes.map((ofMember) => group.map((i) => sizeOf(ofMember[i]!))),
      // Keys, which decide by their differences what is attended to, keep all their bits.
      rows: group.map((i) => (p.features.float8 && i !== 1 ? perHead[i]! : 0)),
    });
    if (!received) continue;
    const unpacked = unpack(
      received,
      shapes.flatMap((ofMember) => group.map((i) => ofMember[i]!)),
    );
    for (const [at, tensor] of unpacked.entries()) incoming[group[at % group.length]!]!.push(tensor);
  }
  if (own === 0) return undefined;
  return incoming.map((received, i) => inOrder(received, { axis: 1, segments: segments[i]! })) as Triple;
}

export interface HeadsInParts {
  /** [B, tokens of the group, own heads · d]; undefined on a rank without heads. */
  attended: SymbolicTensor | undefined;
  tokens: Dealt;
  perHead: number;
  /** Anything of the same batch and type. */
  like: SymbolicTensor;
}

/** Back to [B, own tokens, heads · d]. */
export function toTokens({ p, heads }: HeadShares, { attended, tokens, perHead, like }: HeadsInParts): SymbolicTensor {
  if (heads.length === 1) return attended!;
  const segments = groupSegments(p, tokens);
  const sizes = segments.flat();
  const pieces = attended ? (sizes.length > 1 ? splitSizes(attended, sizes) : [attended]) : [];
  const count = heads.length;
  const own = localSize(tokens, p.place.sequence);
  const received = allToAll(like, {
    group: 'ulysses',
    send: heads.map((_, member) => {
      const ofMember = segments.flatMap((_, segment) => pieces[segment * count + member] ?? []);
      return [ofMember.length > 0 ? concat(ofMember, 1) : undefined];
    }),
    receive: heads.map((share) => [like.dim(0) * own * share * perHead]),
    rows: [p.features.float8 ? perHead : 0],
  });
  const parts = unpack(
    received!,
    heads.map((share) => [like.dim(0), own, share * perHead]),
  );
  return concat(
    parts.filter((part) => part !== undefined),
    2,
  );
}

/** Channels of [B, S, C] in parts of the given widths; those of width 0 are undefined. */
function splitHeads(x: SymbolicTensor, widths: readonly number[]): (SymbolicTensor | undefined)[] {
  const present = widths.filter((width) => width > 0);
  const parts = present.length > 1 ? (x.split(2, present) as SymbolicTensor[]) : [x];
  return widths.map((width) => (width > 0 ? parts.shift() : undefined));
}

function splitSizes(x: SymbolicTensor, sizes: readonly number[]): (SymbolicTensor | undefined)[] {
  const present = sizes.filter((size) => size > 0);
  const parts = present.length > 1 ? (x.split(1, present) as SymbolicTensor[]) : [x];
  return sizes.map((size) => (size > 0 ? parts.shift() : undefined));
}
