// Redact: what may leave the process in a log line or at /debug/state.
//
//   R1. Secrets never: values under names such as token, password or api_key, credentials inside URLs, bearer tokens.
//   R2. Texts of requests and models (prompts, responses, critiques) only when `texts` is true; otherwise their length alone.
//   R3. What comes out is bounded (limits.logged*) and plain data: JSON.stringify neither throws nor loops on it.

import { FaultError } from '../fault.js';
import { limits } from '../limits.js';

export interface RedactOptions {
  /** True lets prompts, responses and critiques through. */
  readonly texts: boolean;
}

export const redactedMark = '[redacted]';

const secretNames =
  /^(.*_)?(token|tokens|password|passwords|pass|secret|secrets|api_?key|api_?keys|authorization|cookie|creds|credentials|private_?key)$/;
const textNames = new Set([
  'body',
  'completion',
  'content',
  'contents',
  'critique',
  'critiques',
  'input',
  'message_texts',
  'messages',
  'output',
  'principles',
  'prompt',
  'prompts',
  'query',
  'reference',
  'response',
  'responses',
  'text',
  'texts',
]);

/** snake_case of a name in camelCase. */
export function snake(name: string): string {
  return name.replace(/[A-Z]+(?![a-z])|[A-Z]/g, (capitals, at: number) => (at > 0 ? '_' : '') + capitals.toLowerCase());
}

/** A string without credentials, no longer than limits.loggedStringCharsMax. */
export function scrubbed(text: string): string {
  const plain = text
    .slice(0, limits.loggedStringCharsMax + 1)
    .replace(/([a-z][a-z0-9+.-]*:\/\/)[^\s/?#]*@/gi, `$1${redactedMark}@`)
    // An address needs no scheme: user:password@host:port. Bounded, so that no text makes the search long.
    .replace(/(?<![^\s,;"'([])[^\s:@/,;"'([]{1,64}:[^\s@/]{1,256}@(?=[\w.[:\]-]{1,255}:\d)/g, `${redactedMark}@`)
    .replace(/\b(bearer|basic)\s+[\w.~+/=-]{4,}/gi, `$1 ${redactedMark}`);
  return plain.length > limits.loggedStringCharsMax ? `${plain.slice(0, limits.loggedStringCharsMax)}…` : plain;
}

/** Plain data for JSON, without secrets and, unless `texts`, without texts. */
export function redacted(value: unknown, options: RedactOptions): unknown {
  return plain(value, options, 0, new Set());
}

function plain(value: unknown, options: RedactOptions, depth: number, above: ReadonlySet<object>): unknown {
  switch (typeof value) {
    case 'string':
      return scrubbed(value);
    case 'number':
      return Number.isFinite(value) ? value : String(value);
    case 'bigint':
      return String(value);
    case 'boolean':
    case 'undefined':
      return value;
    case 'function':
    case 'symbol':
      return `[${typeof value}]`;
    case 'object':
      break;
  }
  if (value === null) return null;
  if (above.has(value)) return '[circular]';
  if (depth >= limits.loggedDepthMax) return '[deep]';
  const inside = new Set(above).add(value);
  if (value instanceof Error) return plainError(value, options, depth, inside);
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'Invalid Date' : value.toISOString();
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
  if (value instanceof Set) return list([...value], options, depth, inside);
  if (Array.isArray(value)) return list(value, options, depth, inside);
  if (value instanceof Map) return fields([...value].map(named), options, depth, inside);
  try {
    if ('toJSON' in value && typeof value.toJSON === 'function') {
      return plain((value as { toJSON(): unknown }).toJSON(), options, depth + 1, inside);
    }
    return fields(Object.entries(value), options, depth, inside);
  } catch {
    // A getter or a toJSON of somebody else's: a log line must not fail for it.
    return '[unreadable]';
  }
}

function named([key, value]: [unknown, unknown]): [string, unknown] {
  return [typeof key === 'object' && key !== null ? '[object]' : String(key), value];
}

function list(values: readonly unknown[], options: RedactOptions, depth: number, above: ReadonlySet<object>): unknown {
  const kept = values.slice(0, limits.loggedEntriesMax).map((item) => plain(item, options, depth + 1, above));
  return values.length > kept.length ? [...kept, `[${values.length - kept.length} more]`] : kept;
}

function fields(
  entries: readonly (readonly [string, unknown])[],
  options: RedactOptions,
  depth: number,
  above: ReadonlySet<object>,
): Record<string, unknown> {
  const out: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
  for (const [name, value] of entries.slice(0, limits.loggedEntriesMax)) {
    out[name] = field(name, value, options, depth, above);
  }
  if (entries.length > limits.loggedEntriesMax) out['…'] = `[${entries.length - limits.loggedEntriesMax} more]`;
  return out;
}

/** Numbers and flags are counts (prompt_tokens, responses), never a secret or a text. */
function field(
  name: string,
  value: unknown,
  options: RedactOptions,
  depth: number,
  above: ReadonlySet<object>,
): unknown {
  if (value === undefined || value === null || typeof value === 'number' || typeof value === 'boolean') {
    return plain(value, options, depth + 1, above);
  }
  const known = snake(name);
  if (secretNames.test(known)) return redactedMark;
  if (!options.texts && textNames.has(known)) return `[${lengthOf(value)}]`;
  return plain(value, options, depth + 1, above);
}

function lengthOf(value: unknown): string {
  if (typeof value === 'string') return `${value.length} characters`;
  if (Array.isArray(value)) return `${value.length} texts`;
  return 'text';
}

function plainError(error: Error, options: RedactOptions, depth: number, above: ReadonlySet<object>): unknown {
  const code = (error as { code?: unknown }).code;
  // JSON.parse quotes its input in the message.
  const quotes = error instanceof SyntaxError && !options.texts;
  const message = quotes ? error.message.replace(/["'].*$/s, '[text]') : error.message;
  return {
    type: error.name,
    message: scrubbed(message),
    ...(typeof code === 'string' || typeof code === 'number' ? { code } : {}),
    ...(error instanceof FaultError ? { fault: error.fault.kind } : {}),
    ...(error.stack === undefined ? {} : { stack: scrubbed(frames(error.stack)) }),
    ...(error.cause === undefined ? {} : { cause: plain(error.cause, options, depth + 1, above) }),
  };
}

/** The stack without its first lines, which repeat the message. */
function frames(stack: string): string {
  const at = stack.search(/^\s+at /m);
  return at < 0 ? '' : stack.slice(at).trimEnd();
}
