// Template text: the file format of prompt templates, and filling one in.
//
//   # Lines before the first section are comment.
//   === system ===
//   Plain text with {{placeholders}}.
//   === list ===
//   ...
//
// Blank lines around a section are dropped. A placeholder that stands alone on its line and is filled with nothing takes its line with it.
// Filling is one pass: what is filled in is never looked at again, so a response that says {{nonce}} stays as it is.

import type { Violation } from '../fault.js';

/** A section split at its placeholders: text as it is, or the name of what goes there. */
export type Part = string | Slot;

export interface Slot {
  readonly slot: string;
  /** Alone on its line, another line after it: carries that line's end. */
  readonly wholeLine: boolean;
}

export interface Section {
  readonly source: string;
  readonly parts: readonly Part[];
}

const header = /^=== ([a-z]+) ===[ \t]*$/;
const placeholder = /\{\{([a-z]+)\}\}/g;

/** Splits a template file into its sections. */
export function readSections(text: string): { sections: Map<string, Section>; violations: Violation[] } {
  const sections = new Map<string, Section>();
  const violations: Violation[] = [];
  let name: string | undefined;
  let lines: string[] = [];
  const close = () => {
    if (name !== undefined) sections.set(name, readSection(lines.join('\n')));
    lines = [];
  };
  for (const line of text.replace(/\r\n?/g, '\n').split('\n')) {
    const next = header.exec(line)?.[1];
    if (next === undefined) {
      if (name !== undefined) lines.push(line);
      else if (line.trim() !== '' && !line.startsWith('#')) {
        violations.push({
          field: 'template',
          description: `"${line.slice(0, 60)}" stands before the first section and is no # comment`,
        });
      }
      continue;
    }
    close();
    name = next;
    if (sections.has(name)) violations.push({ field: `template.${name}`, description: 'the section is there twice' });
  }
  close();
  return { sections, violations };
}

function readSection(body: string): Section {
  const source = trimBlankLines(body);
  const parts: Part[] = [];
  let from = 0;
  for (const found of source.matchAll(placeholder)) {
    const end = found.index + found[0].length;
    const wholeLine = (found.index === 0 || source[found.index - 1] === '\n') && source[end] === '\n';
    if (found.index > from) parts.push(source.slice(from, found.index));
    parts.push({ slot: found[1]!, wholeLine });
    from = wholeLine ? end + 1 : end;
  }
  if (from < source.length) parts.push(source.slice(from));
  return { source, parts };
}

function trimBlankLines(body: string): string {
  const lines = body.split('\n');
  let from = 0;
  let to = lines.length;
  while (from < to && lines[from]!.trim() === '') from += 1;
  while (to > from && lines[to - 1]!.trim() === '') to -= 1;
  return lines.slice(from, to).join('\n');
}

export function slotsOf(section: Section): string[] {
  return section.parts.flatMap((part) => (typeof part === 'string' ? [] : [part.slot]));
}

/** Fills a section. Every slot of it must have a value. */
export function fill(section: Section, values: Readonly<Record<string, string>>): string {
  let text = '';
  for (const part of section.parts) {
    if (typeof part === 'string') {
      text += part;
      continue;
    }
    const value = values[part.slot];
    if (value === undefined) throw new Error(`template: nothing to fill {{${part.slot}}} with`);
    text += part.wholeLine && value !== '' ? `${value}\n` : value;
  }
  return text;
}
