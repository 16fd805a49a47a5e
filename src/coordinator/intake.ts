// Intake: from what a door was sent to a request that the coordinator may trust. Pure, and the same for every door.
//
//   I1. All violations are told at once (at most limits.violationsMax, then how many more), each with the field's path as the
//       protos spell it, what came (shortened, never a whole text) and what was expected.
//   I2. What passes is within limits.ts; defaults of the server are not applied here, so k_meta and quorum are checked against
//       k where k was given, else against the largest k.
//   I3. Texts are well-formed Unicode: a lone surrogate becomes U+FFFD, which is what protobuf's decoders make of broken UTF-8,
//       so a request has one identity whichever door it came through. In an idempotency key it is a violation: two keys must
//       never become one.
//
// An empty response is a response (a model may answer nothing) and is judged. An empty reference is no reference. JSON's null
// and protobuf's empty string mean "absent" for options and names.

import {
  classes,
  stopRules,
  voteMethods,
  type Content,
  type Message,
  type Principle,
  type Role,
} from '../grm/query.js';
import type { Violation } from '../fault.js';
import { limits } from '../limits.js';
import type { ScoreInput, ScoreOptions } from './coordinator.js';
import { Findings } from './findings.js';

/** What a door was sent, before anything is known of it. Keys are these; every value may be anything. */
export interface RawScore {
  readonly idempotencyKey?: unknown;
  readonly tenant?: unknown;
  /** A word of `classes`. */
  readonly class?: unknown;
  /** `{query, responses, reference, principles, hintedBest}`: query is a text, a list of `{role, content}`, or `{messages: [...]}`. */
  readonly content?: unknown;
  /** The keys of ScoreOptions. */
  readonly options?: unknown;
  readonly fresh?: unknown;
  readonly expectedJudge?: unknown;
  readonly allowJudgeChange?: unknown;
}

export type Intake =
  | { readonly kind: 'ok'; readonly input: ScoreInput }
  | { readonly kind: 'violations'; readonly violations: Violation[] };

export const defaultTenant = 'default';

const roles: readonly Role[] = ['system', 'user', 'assistant', 'tool'];
const namePattern = /^[A-Za-z0-9._-]{1,64}$/;
const nameWords = "1..64 of a-z, A-Z, 0-9, '-', '_', '.'";
const uint32Max = 0xffff_ffff;

/** @param templates names of the loaded ones, where the caller knows them; without, any well-formed name passes */
export function intake(raw: RawScore, templates?: readonly string[]): Intake {
  const found = new Findings();
  const texts = new Texts();
  const content = readContent(raw.content, found, texts);
  if (texts.bytes > limits.contentBytesMax) {
    found.add('content', `${texts.bytes} bytes of text`, `at most ${limits.contentBytesMax}`);
  }
  const options = readOptions(raw.options, found, templates);
  const idempotencyKey = readKey(raw.idempotencyKey, found);
  const tenant = readName('tenant', raw.tenant, found) ?? defaultTenant;
  const urgency = found.oneOf('class', raw.class, classes);
  const fresh = readName('fresh', raw.fresh, found);
  const expectedJudge = readName('expected_judge', raw.expectedJudge, found);
  const allowJudgeChange = found.boolean('allow_judge_change', raw.allowJudgeChange);
  if (found.any) return { kind: 'violations', violations: found.list() };
  const input: ScoreInput = {
    ...(idempotencyKey !== undefined && { idempotencyKey }),
    tenant,
    ...(urgency !== undefined && { class: urgency }),
    content,
    contentBytes: texts.bytes,
    options,
    ...(fresh !== undefined && { fresh }),
    ...(expectedJudge !== undefined && { expectedJudge }),
    ...(allowJudgeChange === true && { allowJudgeChange }),
  };
  return { kind: 'ok', input };
}

/** Makes texts well-formed (I3) and weighs them, once each. */
class Texts {
  bytes = 0;

  take(text: string): string {
    const formed = text.isWellFormed() ? text : text.toWellFormed();
    this.bytes += Buffer.byteLength(formed);
    return formed;
  }
}

function readContent(raw: unknown, found: Findings, texts: Texts): Content {
  const content = found.object('content', raw, 'a query and 1..16 responses');
  if (!content) return { messages: [], responses: [], principles: [] };
  const messages = readMessages(content.query, found, texts);
  const responses = readResponses(content.responses, found, texts);
  const reference = readReference(content.reference, found, texts);
  const principles = readPrinciples(content.principles, found, texts);
  const hintedBest = readHint(content.hintedBest, responses.length, found);
  return {
    messages,
    responses,
    ...(reference !== undefined && { reference }),
    principles,
    ...(hintedBest !== undefined && { hintedBest }),
  };
}

/** Of one response the prompt could only say what it says anyway. */
function readHint(raw: unknown, responses: number, found: Findings): number | undefined {
  if (raw === undefined || raw === null || responses === 0) return undefined;
  if (responses === 1) {
    found.add('content.hinted_best', found.shown(raw), 'absent: with one response there is no best to name');
    return undefined;
  }
  return found.integer('content.hinted_best', raw, 0, responses - 1, ' (an index of responses)');
}

function readMessages(query: unknown, found: Findings, texts: Texts): Message[] {
  const path = 'content.query.messages';
  const raw = messagesOf(query);
  const list = found.list1(path, raw, limits.messagesMax, 'messages');
  if (list === undefined) return [];
  const before = found.count;
  const messages = list.map((item, at): Message => {
    const message = found.object(`${path}[${at}]`, item, 'a message with role and content');
    if (!message) return { role: 'user', content: '' };
    const role = found.oneOf(`${path}[${at}].role`, message.role ?? '', roles) ?? 'user';
    const content = found.text(`${path}[${at}].content`, message.content);
    return { role, content: content === undefined ? '' : texts.take(content) };
  });
  if (found.count > before) return messages;
  const last = messages.at(-1);
  // Of a list that was cut, the last one read is not the last turn.
  const cut = Array.isArray(raw) && raw.length > list.length;
  if (!cut && last && last.role !== 'user') {
    found.add(`${path}[${messages.length - 1}].role`, `"${last.role}"`, '"user": the last turn is what is answered');
  }
  if (!messages.some((message) => /\S/.test(message.content))) {
    found.add(path, 'only empty messages', 'at least one message with text');
  }
  return messages;
}

/** A query is a text, a list of messages, or an object that holds the list. */
function messagesOf(query: unknown): unknown {
  if (typeof query === 'string') return [{ role: 'user', content: query }];
  if (typeof query === 'object' && query !== null && !Array.isArray(query))
    return (query as { messages?: unknown }).messages;
  return query;
}

function readResponses(raw: unknown, found: Findings, texts: Texts): string[] {
  const path = 'content.responses';
  const list = found.list1(path, raw, limits.responsesMax, 'texts') ?? [];
  return list.map((item, at) => {
    const text = found.text(`${path}[${at}]`, item);
    return text === undefined ? '' : texts.take(text);
  });
}

function readReference(raw: unknown, found: Findings, texts: Texts): string | undefined {
  if (absent(raw)) return undefined;
  const text = found.text('content.reference', raw);
  return text === undefined ? undefined : texts.take(text);
}

function readPrinciples(raw: unknown, found: Findings, texts: Texts): Principle[] {
  if (absent(raw)) return [];
  const path = 'content.principles';
  const list = found.list0(path, raw, limits.principlesMax, 'principles') ?? [];
  return list.map((item, at): Principle => {
    const principle = found.object(`${path}[${at}]`, item, 'a principle with text');
    if (!principle) return { text: '' };
    const text = found.text(`${path}[${at}].text`, principle.text);
    const bytes = text === undefined ? 0 : Buffer.byteLength(text);
    if (text !== undefined && !/\S/.test(text)) found.add(`${path}[${at}].text`, 'no text', 'the criterion in words');
    if (bytes > limits.principleBytesMax) {
      found.add(`${path}[${at}].text`, `${bytes} bytes`, `at most ${limits.principleBytesMax}`);
    }
    const weightPercent = found.integer(`${path}[${at}].weight_percent`, principle.weightPercent, 1, 100);
    return { text: texts.take(text ?? ''), ...(weightPercent !== undefined && { weightPercent }) };
  });
}

function readOptions(raw: unknown, found: Findings, templates: readonly string[] | undefined): ScoreOptions {
  if (absent(raw)) return {};
  const given = found.object('options', raw, 'options by name');
  if (!given) return {};
  const k = found.integer('options.k', given.k, 1, limits.kMax);
  const upToK = k ?? limits.kMax;
  const options: { -readonly [K in keyof ScoreOptions]: ScoreOptions[K] | undefined } = {
    k,
    kMeta: found.integer('options.k_meta', given.kMeta, 1, upToK, k === undefined ? '' : ' (k)'),
    vote: found.oneOf('options.vote', given.vote, voteMethods),
    temperature: found.number('options.temperature', given.temperature, {
      holds: (value) => value >= 0 && value <= limits.temperatureMax,
      words: `0..${limits.temperatureMax}`,
    }),
    topP: found.number('options.top_p', given.topP, {
      holds: (value) => value > 0 && value <= 1,
      words: 'above 0, at most 1',
    }),
    maxTokens: found.integer('options.max_tokens', given.maxTokens, 1, limits.maxTokensMax),
    quorum: found.integer('options.quorum', given.quorum, 1, upToK, k === undefined ? '' : ' (k)'),
    timeBudgetMs: found.integer(
      'options.time_budget_ms',
      given.timeBudgetMs,
      limits.timeBudgetMsMin,
      limits.timeBudgetMsMax,
    ),
    seed: found.integer('options.seed', given.seed, 0, uint32Max),
    template: readTemplate(given.template, found, templates),
    meta: found.boolean('options.meta', given.meta),
    stop: found.oneOf('options.stop', given.stop, stopRules),
    stopError: found.number('options.stop_error', given.stopError, {
      holds: (value) => value > 0 && value <= limits.stopErrorMax,
      words: `above 0, at most ${limits.stopErrorMax}`,
    }),
  };
  contradictions(options, found);
  const said: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(options)) if (value !== undefined) said[name] = value;
  return said;
}

/** Options that are each well and together mean nothing. */
function contradictions(
  options: { readonly [K in keyof ScoreOptions]: ScoreOptions[K] | undefined },
  found: Findings,
): void {
  const { vote, meta, kMeta, stop, stopError } = options;
  if (stopError !== undefined && stop !== undefined && stop !== 'confident') {
    found.add('options.stop_error', `${stopError} with stop "${stop}"`, 'absent, or stop "confident"');
  }
  const needsMeta = vote === 'meta_topk' || vote === 'meta_weighted';
  if (meta === false && needsMeta) {
    found.add('options.meta', 'false', `true or absent: vote "${vote}" needs meta rewards`);
  }
  if (kMeta === undefined) return;
  if (meta === false) found.add('options.k_meta', `${kMeta} with meta = false`, 'absent, or meta true');
  if (vote !== undefined && vote !== 'meta_topk') {
    found.add('options.k_meta', `${kMeta} with vote "${vote}"`, 'absent, or vote "meta_topk"');
  }
}

function readKey(raw: unknown, found: Findings): string | undefined {
  if (absent(raw)) return undefined;
  const key = found.text('idempotency_key', raw);
  if (key === undefined) return undefined;
  const bytes = Buffer.byteLength(key);
  if (bytes > limits.idempotencyKeyBytesMax) {
    found.add('idempotency_key', `${bytes} bytes`, `at most ${limits.idempotencyKeyBytesMax}`);
  }
  if (!key.isWellFormed()) found.add('idempotency_key', 'a lone surrogate', 'well-formed Unicode');
  return key;
}

function readName(path: string, raw: unknown, found: Findings): string | undefined {
  if (absent(raw)) return undefined;
  const name = found.text(path, raw);
  if (name === undefined) return undefined;
  if (!namePattern.test(name)) found.add(path, found.shown(name), nameWords);
  return name;
}

function readTemplate(raw: unknown, found: Findings, loaded: readonly string[] | undefined): string | undefined {
  const path = 'options.template';
  const before = found.count;
  const name = readName(path, raw, found);
  if (name === undefined || found.count > before || loaded === undefined || loaded.includes(name)) return name;
  found.add(path, found.shown(name), `a loaded template: ${loaded.join(', ')}`);
  return name;
}

function absent(raw: unknown): boolean {
  return raw === undefined || raw === null || raw === '';
}
