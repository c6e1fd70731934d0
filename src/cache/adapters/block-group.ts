/**
 * The blocks that one decision covers: one block list, or several that run as one (FLUX's double and single blocks). Numbers the
 * blocks of a group from 0 and cuts ranges of them into span pieces.
 */
import { DejaDitError } from '../../errors/errors.ts';
import type { ForwardPattern, Transformer } from '../../models/definition.ts';
import { blocks, listEdge, type Piece, wholeList } from '../../models/pieces.ts';

export interface BlockGroup {
  /** Names of its lists, joined by `+`. */
  readonly name: string;
  readonly count: number;
  /** Names and forward patterns of its lists. */
  readonly lists: readonly { name: string; pattern: ForwardPattern }[];
  /** Whether its last blocks read what its first ones returned. */
  readonly longSkips: boolean;
  /** Module paths of its blocks. */
  readonly blockPaths: readonly string[];
  /** What comes before the first block and after the last. */
  readonly enter: Piece;
  readonly leave: Piece;
  /** Blocks `from` to `to`, in the group's numbering. */
  range(from: number, to: number): Piece[];
}

/** A transformer's block lists in the order they run: groups that are cached, and lists that are not. */
export type Section = { kind: 'group'; group: BlockGroup } | { kind: 'plain'; pieces: Piece[] };

/** @throws DejaDitError INVALID_CONFIG if a group names an unknown list or lists that do not follow each other */
export function sectionsOf(model: Transformer, groups: readonly (readonly string[])[] = model.cacheGroups): Section[] {
  const lists = model.blockLists;
  const indexOf = (name: string): number => {
    const index = lists.findIndex((list) => list.name === name);
    if (index >= 0) return index;
    throw new DejaDitError(
      'INVALID_CONFIG',
      `${model.className} has no block list '${name}', only ${lists.map((list) => list.name).join(', ')}`,
    );
  };
  const members = groups.map((names) => names.map(indexOf));
  const sections: Section[] = [];
  for (let list = 0; list < lists.length; list++) {
    const member = members.find((indices) => indices.includes(list));
    if (!member) sections.push({ kind: 'plain', pieces: wholeList(model, list) });
    else if (member[0] === list) sections.push({ kind: 'group', group: groupOf(model, member) });
    else if (!member.includes(list - 1))
      throw new DejaDitError(
        'INVALID_CONFIG',
        `the lists of group ${member.map((i) => lists[i]!.name).join('+')} do not follow each other`,
      );
  }
  return sections;
}

function groupOf(model: Transformer, members: readonly number[]): BlockGroup {
  const lists = members.map((list) => model.blockLists[list]!);
  const inner = [...lists.slice(1).map((list) => list.enter), ...lists.slice(0, -1).map((list) => list.leave)];
  if (inner.some((edge) => edge !== undefined)) {
    throw new DejaDitError(
      'INVALID_CONFIG',
      `${lists.map((list) => list.name).join('+')} change their streams between the lists and cannot be one group`,
    );
  }
  const starts: number[] = [];
  let count = 0;
  for (const list of lists) {
    starts.push(count);
    count += list.count;
  }
  return {
    name: lists.map((list) => list.name).join('+'),
    count,
    lists: lists.map(({ name, pattern }) => ({ name, pattern })),
    longSkips: lists.some((list) => list.longSkips),
    blockPaths: lists.flatMap((list) => Array.from({ length: list.count }, (_, i) => `${list.name}.${i}`)),
    enter: listEdge(model, members[0]!, 'enter'),
    leave: listEdge(model, members.at(-1)!, 'leave'),
    range: (from, to) =>
      members.flatMap((list, i) => {
        const start = Math.max(from - starts[i]!, 0);
        const end = Math.min(to - starts[i]!, lists[i]!.count);
        return start < end ? [blocks(model, { list, from: start, to: end })] : [];
      }),
  };
}
