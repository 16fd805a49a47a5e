// Rows: the JSONL that `grm score` reads, one request a line.
//
//   {"id": any, "query": text | [{role, content}], "responses": [text], "reference"?: text, "principles"?: [text | {text, weight_percent}],
//    "tenant"?, "class"?, "idempotency_key"?, "options"?: {"k": 8, ...}}
//
// Every other key, such as "label", is carried over to the output.

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import type { Violation } from '../fault.js';
import { limits } from '../limits.js';
import type { RawScore } from '../coordinator/intake.js';
import { nearest } from '../process/nearest.js';
import { exitCodes } from '../process/run.js';
import { CliError } from './context.js';
import { readLines, type Line } from './lines.js';
import { resultColumns } from './render.js';

export interface Row {
  /** From 0, counting every line that is not blank. */
  readonly number: number;
  /** First 16 hexadecimal digits of the SHA-256 of salt and line: tells on resume whether the output belongs to this input. */
  readonly digest: string;
  /** Of the line. */
  readonly bytes: number;
  readonly body: RowBody;
}

export type RowBody =
  | {
      readonly kind: 'request';
      readonly raw: RawScore;
      readonly id: unknown;
      /** `"id":7,"label":0`: the id and every other key, as they stand in the output. */
      readonly columns: string;
      /** What no door would notice: options, and keys of principles, that nobody knows. */
      readonly misspelt: readonly Violation[];
    }
  | { readonly kind: 'unreadable'; readonly reason: string };

export interface Input {
  /** Whether it can be read twice: once for the count. */
  readonly regular: boolean;
  stream(): AsyncIterable<Buffer>;
}

/** @param path a file, or "-" for standard input. Throws CliError (usage) when it cannot be read. */
export async function openInput(path: string): Promise<Input> {
  if (path === '-') return { regular: false, stream: () => process.stdin };
  try {
    const stats = await stat(path);
    if (stats.isDirectory()) throw new Error('it is a folder');
    // Opened once for the rights; a pipe would lose its first reader by that.
    if (stats.isFile()) await (await open(path, 'r')).close();
    return { regular: stats.isFile(), stream: () => createReadStream(path) };
  } catch (error) {
    throw new CliError(
      `cannot read ${path}: ${error instanceof Error ? error.message : String(error)}`,
      exitCodes.usage,
    );
  }
}

/** Rows in all; undefined when that cannot be known beforehand. */
export async function countRows(input: Input): Promise<number | undefined> {
  if (!input.regular) return undefined;
  let rows = 0;
  // A line that begins with so much white space is taken for a row: the count only serves the ETA.
  for await (const line of readLines(input.stream(), 1_024)) if (!isBlank(line)) rows++;
  return rows;
}

/** @param salt goes into every digest: what else decides what a row's result is */
export async function* readRows(input: AsyncIterable<Buffer>, salt: string): AsyncGenerator<Row, void, undefined> {
  for await (const { line: _, json, ...row } of readJsonRows(input, salt)) yield { ...row, body: bodyOf(json) };
}

/** A line that is not blank, with whatever JSON it holds. */
export interface JsonRow extends Pick<Row, 'number' | 'digest' | 'bytes'> {
  /** From 1, counting all lines: as editors count. */
  readonly line: number;
  readonly json: JsonText;
}

export type JsonText =
  { readonly kind: 'value'; readonly value: unknown } | { readonly kind: 'unreadable'; readonly reason: string };

/** @param bytesMax of one line; a longer one is unreadable */
export async function* readJsonRows(
  input: AsyncIterable<Buffer>,
  salt: string,
  bytesMax: number = limits.rowBytesMax,
): AsyncGenerator<JsonRow, void, undefined> {
  let number = 0;
  let lines = 0;
  for await (const line of readLines(input, bytesMax)) {
    lines++;
    if (isBlank(line)) continue;
    const { head, lengthBytes } = line;
    const digest = createHash('sha256').update(`${salt}\n${lengthBytes}\n`).update(head).digest('hex').slice(0, 16);
    const json: JsonText =
      lengthBytes > bytesMax
        ? { kind: 'unreadable', reason: `the line has ${lengthBytes} bytes, at most ${bytesMax} are read` }
        : readJson(head);
    yield { number: number++, line: lines, digest, bytes: lengthBytes, json };
  }
}

/** What JSON calls white space, and the byte order mark that some editors put first. */
function isBlank({ head, lengthBytes }: Line): boolean {
  if (head.length < lengthBytes) return false;
  const text = head.length >= 3 && head.subarray(0, 3).equals(byteOrderMark) ? head.subarray(3) : head;
  return text.every((byte) => byte === 32 || byte === 9 || byte === 13);
}

const byteOrderMark = Buffer.from([0xef, 0xbb, 0xbf]);
/** Drops a byte order mark: joined files carry them inside, too. */
const utf8 = new TextDecoder('utf-8', { fatal: true });

export function readRow(line: Uint8Array): RowBody {
  return bodyOf(readJson(line));
}

function readJson(line: Uint8Array): JsonText {
  let text: string;
  try {
    text = utf8.decode(line);
  } catch {
    return { kind: 'unreadable', reason: 'the line is not UTF-8' };
  }
  try {
    return { kind: 'value', value: JSON.parse(text) };
  } catch (error) {
    return { kind: 'unreadable', reason: `the line is no JSON: ${error instanceof Error ? error.message : ''}` };
  }
}

function bodyOf(json: JsonText): RowBody {
  if (json.kind === 'unreadable') return json;
  const { value } = json;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return { kind: 'unreadable', reason: 'expected an object with "query" and "responses"' };
  }
  const {
    id,
    query,
    responses,
    reference,
    principles,
    options,
    idempotency_key: idempotencyKey,
    tenant,
    class: urgency,
    ...carried
  } = value as Record<string, unknown>;
  const columns = columnsOf(id ?? null, carried);
  if (columns === undefined) return { kind: 'unreadable', reason: 'the line is nested too deep' };
  return {
    kind: 'request',
    id: id ?? null,
    columns,
    misspelt: [...misspeltIn(options), ...misspeltPrinciples(principles)],
    raw: {
      content: { query, responses, reference, principles: principlesOf(principles) },
      ...(idempotencyKey !== undefined && { idempotencyKey }),
      ...(tenant !== undefined && { tenant }),
      ...(urgency !== undefined && { class: urgency }),
      ...(options !== undefined && { options: isObject(options) ? camelKeys(options) : options }),
    },
  };
}

/** As JSON without its braces. What the output says itself is left out. Undefined when the values are nested too deep to be written. */
function columnsOf(id: unknown, carried: Record<string, unknown>): string | undefined {
  const others = Object.entries(carried).filter(([key]) => !resultColumns.has(key));
  try {
    return [['id', id] as const, ...others]
      .map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`)
      .join(',');
  } catch {
    // JSON.stringify calls itself for every level; JSON.parse does not.
    return undefined;
  }
}

/** As the proto names them. */
const optionKeys: ReadonlySet<string> = new Set([
  'k',
  'k_meta',
  'vote',
  'temperature',
  'top_p',
  'max_tokens',
  'quorum',
  'time_budget_ms',
  'seed',
  'template',
  'meta',
  'stop',
  'stop_error',
]);

/** One violation names them all. */
function misspeltIn(options: unknown): Violation[] {
  const names = isObject(options) ? Object.keys(options).filter((key) => !optionKeys.has(key)) : [];
  if (names.length === 0) return [];
  const shown = names.slice(0, 5).map((name) => name.slice(0, 32));
  return [{ field: 'options', description: `came ${shown.join(', ')}, expected ${[...optionKeys].join(', ')}` }];
}

const principleKeys: readonly string[] = ['text', 'weight_percent'];

/** The part that a key and a longer one share is what people remember of it: "weight" is no near word of "weight_percent". */
function misspeltPrinciples(principles: unknown): Violation[] {
  const list: readonly unknown[] = Array.isArray(principles) ? principles.slice(0, limits.principlesMax) : [];
  return list.flatMap((each, at) => {
    const keys = isObject(each) ? Object.keys(each).filter((key) => !principleKeys.includes(key)) : [];
    return keys.slice(0, 5).map((key): Violation => {
      const near = nearest(key, principleKeys) ?? principleKeys.find((known) => key && known.startsWith(`${key}_`));
      const meant = near === undefined ? '' : `: did you mean ${near}?`;
      const field = `content.principles[${at}].${key.slice(0, 32).toWellFormed()}`;
      return { field, description: `came an unknown key, expected ${principleKeys.join(', ')}${meant}` };
    });
  });
}

function principlesOf(value: unknown): unknown {
  if (!Array.isArray(value)) return value;
  return value.map((each: unknown) =>
    typeof each === 'string' ? { text: each } : isObject(each) ? camelKeys(each) : each,
  );
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** JSON keys are snake_case, as in the protos; the domain's are camelCase. */
function camelKeys(value: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(value).map(([key, each]) => [
      key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()),
      each as unknown,
    ]),
  );
}
