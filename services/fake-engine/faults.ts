// Faults on demand: what a request will suffer, by probability and by count.
//
//   F1. A fault with a count (`next`) goes to the next requests it fits, in the order given, before any dice are thrown.
//   F2. The dice are seeded: the same requests in the same order suffer the same faults.
import { type Random, seededRandom } from './random.js';

export const faultKinds = ['slow', 'hang', '500', '429', 'cut', 'garbage', 'truncate'] as const;
/**
 * slow: the first token comes `delayMs` late. hang: no token ever comes. 500, 429: that status. cut: the connection breaks in the middle.
 * garbage: text without a verdict (for a meta route: a body that is not JSON). truncate: generation ends with "length" before the scores.
 */
export type FaultKind = (typeof faultKinds)[number];

export interface FaultSpec {
  readonly kind: FaultKind;
  /** The next so many requests that fit. */
  readonly next?: number;
  /** Share of requests, 0..1. Needed when `next` is absent. */
  readonly probability?: number;
  /** For slow, milliseconds. Default 2000. */
  readonly delayMs?: number;
  /** For 429, seconds. Default 1. */
  readonly retryAfterSeconds?: number;
  /** Completions, meta routes, or both. Default both. */
  readonly on?: 'generate' | 'meta';
}

export const defaultDelayMs = 2_000;
export const defaultRetryAfterSeconds = 1;

export class FaultPlan {
  readonly fired: Record<FaultKind, number> = { slow: 0, hang: 0, '500': 0, '429': 0, cut: 0, garbage: 0, truncate: 0 };
  readonly #random: Random;
  #specs: { spec: FaultSpec; left: number }[] = [];

  constructor(specs: readonly FaultSpec[], seed: number) {
    this.#random = seededRandom(seed ^ 0xfa17);
    this.replace(specs);
  }

  /** Forgets what was planned and plans these. */
  replace(specs: readonly FaultSpec[]): void {
    this.#specs = specs.map((spec) => ({ spec, left: spec.next ?? Infinity }));
  }

  /** What is still to come. */
  get pending(): readonly FaultSpec[] {
    return this.#specs.map(({ spec, left }) => (left === Infinity ? spec : { ...spec, next: left }));
  }

  /** The fault of one request, if any. */
  choose(route: 'generate' | 'meta'): FaultSpec | undefined {
    const fitting = this.#specs.filter(({ spec }) => spec.on === undefined || spec.on === route);
    const counted = fitting.find(({ spec }) => spec.next !== undefined);
    const chosen = counted ?? fitting.find(({ spec }) => this.#random() < (spec.probability ?? 0));
    if (chosen === undefined) return undefined;
    chosen.left -= 1;
    if (chosen.left <= 0) this.#specs = this.#specs.filter((other) => other !== chosen);
    this.fired[chosen.spec.kind] += 1;
    return chosen.spec;
  }
}

/** Reads faults from JSON (`POST /fake/faults`); a string is what is wrong. */
export function readFaults(value: unknown): readonly FaultSpec[] | string {
  const list = isRecord(value) ? value['faults'] : value;
  if (!Array.isArray(list)) return 'expected {"faults": [{"kind": ...}]}';
  const specs: FaultSpec[] = [];
  for (const entry of list as unknown[]) {
    const spec = isRecord(entry) ? readFault(entry) : 'a fault is an object';
    if (typeof spec === 'string') return spec;
    specs.push(spec);
  }
  return specs;
}

const numberFields = ['next', 'probability', 'delayMs', 'retryAfterSeconds'] as const;

function readFault(entry: Readonly<Record<string, unknown>>): FaultSpec | string {
  const kind = faultKinds.find((known) => known === String(entry['kind']));
  if (kind === undefined) return `kind is one of ${faultKinds.join(', ')}`;
  const unknown = Object.keys(entry).find((key) => ![...numberFields, 'kind', 'on'].includes(key));
  if (unknown !== undefined) return `unknown field ${unknown}`;
  const numbers: Partial<Record<(typeof numberFields)[number], number>> = {};
  for (const field of numberFields) {
    const value = entry[field];
    if (value === undefined) continue;
    if (typeof value !== 'number' || !(value >= 0)) return `${field} is a number from 0`;
    numbers[field] = value;
  }
  if (numbers.probability !== undefined && numbers.probability > 1) return 'probability is 0..1';
  if (numbers.next !== undefined && !(Number.isInteger(numbers.next) && numbers.next > 0))
    return 'next is a whole number from 1';
  if (numbers.next === undefined && numbers.probability === undefined) return 'a fault needs next or probability';
  const on = entry['on'];
  if (on !== undefined && on !== 'generate' && on !== 'meta') return 'on is generate or meta';
  return { kind, ...numbers, ...(on === undefined ? {} : { on }) };
}

/** Reads a command-line fault: `500:0.1`, `slow:0.2,delayMs=500`, `429:next=3,on=generate`. */
export function parseFault(text: string): FaultSpec | string {
  const [kind = '', rest = ''] = text.split(/:(.*)/s);
  const entry: Record<string, unknown> = { kind };
  for (const part of rest.split(',').filter((piece) => piece !== '')) {
    const [name = '', value] = part.split('=');
    if (value === undefined) entry['probability'] = Number(name);
    else entry[name] = name === 'on' ? value : Number(value);
  }
  const spec = readFault(entry);
  return typeof spec === 'string' ? `${text}: ${spec}` : spec;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
