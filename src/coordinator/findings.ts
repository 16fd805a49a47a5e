// Findings: collects what is wrong with a request while it is read. Each reader returns the value when it is well and
// undefined when it is absent or wrong; a wrong one leaves a violation behind.

import type { Violation } from '../fault.js';
import { limits } from '../limits.js';

/** Characters of a caller's text that are shown back: enough to recognise it, too few to leak or to flood a log. */
const shownCharsMax = 32;

export class Findings {
  readonly #violations: Violation[] = [];
  #count = 0;

  /** Violations found, told or not. */
  get count(): number {
    return this.#count;
  }

  get any(): boolean {
    return this.#count > 0;
  }

  add(field: string, came: string, expected: string): void {
    this.#count++;
    if (this.#violations.length < limits.violationsMax) {
      this.#violations.push({ field, description: `came ${came}, expected ${expected}` });
    }
  }

  list(): Violation[] {
    const more = this.#count - this.#violations.length;
    if (more === 0) return this.#violations;
    const told = this.#violations.slice(0, -1);
    return [...told, { field: '', description: `and ${more + 1} more violations` }];
  }

  object(path: string, raw: unknown, expected: string): Readonly<Record<string, unknown>> | undefined {
    if (typeof raw === 'object' && raw !== null && !Array.isArray(raw)) return raw as Record<string, unknown>;
    this.add(path, this.shown(raw), expected);
    return undefined;
  }

  /** A list of 1..max. Of a longer one the first `max` are read, so that its own violations are told too. */
  list1(path: string, raw: unknown, max: number, what: string): readonly unknown[] | undefined {
    if (raw === undefined || raw === null || (Array.isArray(raw) && raw.length === 0)) {
      this.add(path, 'none', `1..${max} ${what}`);
      return undefined;
    }
    return this.list0(path, raw, max, what, 1);
  }

  list0(path: string, raw: unknown, max: number, what: string, min = 0): readonly unknown[] | undefined {
    if (!Array.isArray(raw)) {
      this.add(path, this.shown(raw), `a list of ${min}..${max} ${what}`);
      return undefined;
    }
    const list: readonly unknown[] = raw;
    if (list.length <= max) return list;
    this.add(path, `${list.length}`, `${min}..${max} ${what}`);
    return list.slice(0, max);
  }

  text(path: string, raw: unknown): string | undefined {
    if (typeof raw === 'string') return raw;
    this.add(path, this.shown(raw), 'a text');
    return undefined;
  }

  boolean(path: string, raw: unknown): boolean | undefined {
    if (raw === undefined || raw === null) return undefined;
    if (typeof raw === 'boolean') return raw;
    this.add(path, this.shown(raw), 'true or false');
    return undefined;
  }

  integer(path: string, raw: unknown, min: number, max: number, note = ''): number | undefined {
    const holds = (value: number) => Number.isInteger(value) && value >= min && value <= max;
    return this.number(path, raw, { holds, words: `a whole number ${min}..${max}${note}` });
  }

  number(path: string, raw: unknown, range: { holds(value: number): boolean; words: string }): number | undefined {
    if (raw === undefined || raw === null) return undefined;
    if (typeof raw === 'number' && Number.isFinite(raw) && range.holds(raw)) return raw;
    this.add(path, this.shown(raw), range.words);
    return undefined;
  }

  oneOf<W extends string>(path: string, raw: unknown, words: readonly W[]): W | undefined {
    if (raw === undefined || raw === null) return undefined;
    const word = words.find((each) => each === raw);
    if (word === undefined) this.add(path, this.shown(raw), `one of ${words.join(', ')}`);
    return word;
  }

  /** What came, short enough to send back. */
  shown(raw: unknown): string {
    if (raw === undefined || raw === null) return 'nothing';
    if (typeof raw === 'string') {
      const long = raw.length > shownCharsMax;
      const start = JSON.stringify(raw.slice(0, shownCharsMax).toWellFormed());
      return long ? `${start}... (${raw.length} characters)` : start;
    }
    if (typeof raw === 'number' || typeof raw === 'boolean') return String(raw);
    if (Array.isArray(raw)) return `a list of ${raw.length}`;
    return typeof raw === 'object' ? 'an object' : `a ${typeof raw}`;
  }
}
