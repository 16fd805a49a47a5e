// An engine's own control tokens as the renderer takes them: compiled once for each engine.

import { tokenFinders } from '../grm/chat-tokens.js';
import type { Finder } from '../grm/finder.js';

const none: readonly Finder[] = [];
const compiled = new WeakMap<object, readonly Finder[]>();

export function ownTokensOf(engine: { readonly specialTokens?: readonly string[] }): readonly Finder[] {
  const { specialTokens = [] } = engine;
  if (specialTokens.length === 0) return none;
  let finders = compiled.get(specialTokens);
  if (finders === undefined) compiled.set(specialTokens, (finders = tokenFinders(specialTokens)));
  return finders;
}
