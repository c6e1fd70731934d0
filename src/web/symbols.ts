/** Gives browsers that do not have them yet the symbols that owners are disposed by. Comes before everything else. */
for (const name of ['dispose', 'asyncDispose'] as const)
  if (!(name in Symbol)) Object.defineProperty(Symbol, name, { value: Symbol(`Symbol.${name}`) });

export {};
