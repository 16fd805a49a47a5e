// Item: one labelled row of a data set, from which training data is drawn.
//
//   {"id"?: text or number, "query": text | [{role, content}], "responses": [text], "labels": [number] | "best": index,
//    "reference"?: text, "principles"?: [text | {text, weight_percent}], "domain"?: text}
//
// With one response its label is the score 1..10 that it deserves. Other keys are not looked at. All that is wrong with a row is told at once.

import { Findings } from '../coordinator/findings.js';
import { intake } from '../coordinator/intake.js';
import type { Violation } from '../fault.js';
import type { Content } from '../grm/query.js';
import { limits } from '../limits.js';
import { readLabel, type Label } from './label.js';

/** What every row of an item carries on. */
export interface ItemHead {
  /** As text, so that a column of ids has one type; absent where the row names none. */
  readonly id?: string;
  readonly domain?: string;
}

export interface Item extends ItemHead {
  readonly content: Content;
  readonly label: Label;
}

export type ReadItem =
  | { readonly kind: 'item'; readonly item: Item }
  /** The best label is there twice. */
  | { readonly kind: 'no_unique_best'; readonly head: ItemHead }
  | { readonly kind: 'violations'; readonly violations: readonly Violation[] };

export function readItem(raw: unknown): ReadItem {
  const found = new Findings();
  const row = found.object('', raw, 'an object with "query", "responses" and "labels" or "best"');
  if (!row) return { kind: 'violations', violations: found.list() };
  const { query, responses, reference } = row;
  const taken = intake({ content: { query, responses, reference, principles: principlesOf(row.principles) } });
  const id = readId(row.id, found);
  const domain = readName('domain', row.domain, limits.spctDomainCharsMax, found);
  const n = Array.isArray(responses) && responses.length > 0 ? responses.length : undefined;
  const label = readLabel(row, n, found);
  // Fields of the content are told as the row spells them.
  const inContent =
    taken.kind === 'violations'
      ? taken.violations.map(({ field, description }) => ({ field: field.replace(/^content\./, ''), description }))
      : [];
  if (taken.kind === 'violations' || label === undefined || found.any)
    return { kind: 'violations', violations: [...inContent, ...found.list()] };
  const head: ItemHead = { ...(id !== undefined && { id }), ...(domain !== undefined && { domain }) };
  if (label === 'no_unique_best') return { kind: 'no_unique_best', head };
  return { kind: 'item', item: { ...head, content: taken.input.content, label } };
}

function readId(raw: unknown, found: Findings): string | undefined {
  return readName('id', typeof raw === 'number' ? String(raw) : raw, limits.spctItemIdCharsMax, found);
}

function readName(path: string, raw: unknown, charsMax: number, found: Findings): string | undefined {
  if (raw === undefined || raw === null || raw === '') return undefined;
  const name = found.text(path, raw);
  if (name !== undefined && name.length > charsMax) found.add(path, `${name.length} characters`, `at most ${charsMax}`);
  return name?.toWellFormed();
}

/** As intake spells them: a bare text is a principle, `weight_percent` is a number of the domain. */
function principlesOf(raw: unknown): unknown {
  if (!Array.isArray(raw)) return raw;
  return raw.map((each: unknown) => {
    if (typeof each === 'string') return { text: each };
    if (typeof each !== 'object' || each === null || !('weight_percent' in each)) return each;
    const { weight_percent: weightPercent, ...rest } = each;
    return { ...rest, weightPercent };
  });
}
