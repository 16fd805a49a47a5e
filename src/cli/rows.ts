// Rows: the JSONL that `grm score` reads, one request a line.
//
//   {"id": any, "query": text | [{role, content}], "responses": [text], "reference"?: text, "principles"?: [{text, weight_percent}],
//    "tenant"?, "class"?, "idempotency_key"?, "options"?: {...}}   (other keys, such as "label", are carried over to the output)

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { limits } from '../limits.js';
import type { RawScore } from '../coordinator/intake.js';

export interface Row {
  /** From 0, counting every line that is not blank. */
  readonly number: number;
  /** First 16 hexadecimal digits of the line's SHA-256: tells on resume whether the output belongs to this input. */
  readonly digest: string;
  readonly body: RowBody;
}

export type RowBody =
  | { readonly kind: 'request'; readonly raw: RawScore; readonly id: unknown; readonly label: unknown }
  | { readonly kind: 'unreadable'; readonly reason: string };

/** Lines longer than a request can be are not buffered. */
const lineBytesMax = 2 * limits.contentBytesMax;

/** @param path a file, or "-" for standard input */
export async function* readRows(path: string): AsyncGenerator<Row> {
  let number = 0;
  for await (const line of readLines(path === '-' ? process.stdin : createReadStream(path))) {
    if (line.kind === 'line' && line.text.trim() === '') continue;
    const body: RowBody =
      line.kind === 'line'
        ? readRow(line.text)
        : { kind: 'unreadable', reason: `the line is longer than ${lineBytesMax} bytes` };
    const digest = createHash('sha256')
      .update(line.kind === 'line' ? line.text : `too long ${number}`)
      .digest('hex')
      .slice(0, 16);
    yield { number: number++, digest, body };
  }
}

export function readRow(line: string): RowBody {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    return { kind: 'unreadable', reason: `no JSON: ${error instanceof Error ? error.message : String(error)}` };
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return { kind: 'unreadable', reason: 'expected an object with "query" and "responses"' };
  }
  const row = value as Record<string, unknown>;
  const options = typeof row.options === 'object' && row.options !== null ? camelKeys(row.options) : row.options;
  return {
    kind: 'request',
    id: row.id ?? null,
    label: row.label,
    raw: {
      content: {
        query: row.query,
        responses: row.responses,
        reference: row.reference,
        principles: principlesOf(row.principles),
      },
      ...(row.idempotency_key !== undefined && { idempotencyKey: row.idempotency_key }),
      ...(row.tenant !== undefined && { tenant: row.tenant }),
      ...(row.class !== undefined && { class: row.class }),
      ...(options !== undefined && { options }),
    },
  };
}

function principlesOf(value: unknown): unknown {
  if (!Array.isArray(value)) return value;
  return value.map((each: unknown) =>
    typeof each === 'string' ? { text: each } : typeof each === 'object' && each !== null ? camelKeys(each) : each,
  );
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

type Line = { readonly kind: 'line'; readonly text: string } | { readonly kind: 'too_long' };

/** Splits at newlines with a bound on what is held; an over-long line is skipped to its end and said to be so. */
async function* readLines(input: AsyncIterable<Buffer | string>): AsyncGenerator<Line> {
  let parts: Buffer[] = [];
  let held = 0;
  let tooLong = false;
  for await (const chunk of input) {
    let rest = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
      const head = rest.subarray(0, end);
      rest = rest.subarray(end + 1);
      yield tooLong || held + head.length > lineBytesMax
        ? { kind: 'too_long' }
        : { kind: 'line', text: Buffer.concat([...parts, head]).toString('utf8') };
      parts = [];
      held = 0;
      tooLong = false;
    }
    if (held + rest.length > lineBytesMax) {
      tooLong = true;
      parts = [];
      held = 0;
    } else if (!tooLong && rest.length > 0) {
      parts.push(rest);
      held += rest.length;
    }
  }
  if (tooLong) yield { kind: 'too_long' };
  else if (held > 0) yield { kind: 'line', text: Buffer.concat(parts).toString('utf8') };
}
