// Prompt: from a template, a question and an order of responses to what the engine is asked.
//
// A template family is one file (template-text.ts has the format) with the sections
//
//   system       optional: the system message. Without a nonce, so that engines keep it in their prefix cache across requests
//   list         the user message for any number of responses; holds {{query}}, {{reference}}, {{principles}} and {{responses}}
//   paired       the same for two responses; absent: list
//   single       the same for one response; absent: list
//   turn         how one message of the conversation is shown: {{role}} and {{text}}
//   response     how one response is shown: {{number}}, counted from 1 in the order shown, and {{text}}
//   reference    how the reference answer is shown: {{text}}
//   principles   how the caller's principles are shown: {{text}}, one numbered line each
//   hint         optional: what ends the user message of a request with a hint: {{best}}, the number of the best response in the order shown
//
// Everywhere {{nonce}} is the request's nonce; in list, paired and single {{n}} is the number of responses and {{box}} the shape of the scores.
// A meta template has `user` (with {{judgement}} besides), `judgement` ({{text}}) and optionally `text` instead of list, paired and single.
//
//   T1. With {{nonce}} in the lines before and after {{text}} of `response`, a prompt for n responses has exactly n begin and n end markers, whatever the
//       responses say (promise P8). With or without it, text that looks like a line of the template is broken up (markers.ts, inert.ts), in every text
//       that comes from outside, and in what a judge wrote.
//   T2. A template shows all of a question: one that would leave out the reference or the principles is refused.
//   T3. What samples of a request do not share (the order of the responses) comes as late in the prompt as the template allows.
//   T4. A hint stands after everything else, outside all markers, so that the same prompt without it is a prefix of the prompt with it.

import type { Violation } from '../fault.js';
import { limits } from '../limits.js';
import type { Finder } from './finder.js';
import { holdsDot, inert, noncePattern } from './inert.js';
import { findMarkers, type Markers } from './markers.js';
import type { Content, Principle } from './query.js';
import type { ScoredSample } from './sample.js';
import { fill, readSections, slotsOf, type Section } from './template-text.js';

/** One chat turn as engines take it. */
export interface PromptMessage {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

/** Sections that put markers around a text. */
interface Blocks {
  readonly turn: Section;
  readonly response: Section;
  readonly reference: Section;
  readonly principles: Section;
  /** Finds text that imitates the template. */
  readonly markers: Markers;
}

/** A GRM template, ready to render. */
export interface Template extends Blocks {
  readonly system: Section | undefined;
  readonly single: Section;
  readonly paired: Section;
  readonly list: Section;
  readonly hint: Section;
}

/** A meta-RM template, ready to render. */
export interface MetaTemplate extends Blocks {
  readonly system: Section | undefined;
  readonly user: Section;
  /** For scalar heads that take no chat; absent: system and user message together. */
  readonly text: Section | undefined;
  readonly judgement: Section;
}

export type ParsedTemplate<T> =
  | { readonly kind: 'ok'; readonly template: T }
  | { readonly kind: 'violations'; readonly violations: readonly Violation[] };

interface SectionRule {
  readonly required: boolean;
  /** Placeholders that must be there; the others allowed besides. */
  readonly must: readonly string[];
  readonly may: readonly string[];
}

const shown = ['query', 'reference', 'principles', 'responses'];
const system: SectionRule = { required: false, must: [], may: ['n'] };
const body: SectionRule = { required: false, must: shown, may: ['n', 'box', 'nonce'] };
const metaBody: SectionRule = { required: false, must: [...shown, 'judgement'], may: ['n', 'nonce'] };
const block: SectionRule = { required: true, must: ['text'], may: ['nonce'] };

const blockRules = {
  turn: { ...block, must: ['role', 'text'] },
  response: { ...block, must: ['number', 'text'] },
  reference: block,
  principles: block,
} as const satisfies Record<string, SectionRule>;

const grmRules: Readonly<Record<string, SectionRule>> = {
  system,
  list: { ...body, required: true },
  paired: body,
  single: body,
  ...blockRules,
  hint: { required: false, must: ['best'], may: ['n', 'nonce'] },
};

const metaRules: Readonly<Record<string, SectionRule>> = {
  system,
  user: { ...metaBody, required: true },
  text: metaBody,
  judgement: block,
  ...blockRules,
};

/** Reads a GRM template; tells all that is wrong with it at once. */
export function parseTemplate(text: string): ParsedTemplate<Template> {
  return parsed(text, grmRules, (sections) => {
    const list = sections.get('list')!;
    return {
      system: sections.get('system'),
      list,
      paired: sections.get('paired') ?? list,
      single: sections.get('single') ?? list,
      hint: sections.get('hint') ?? defaultHint,
      ...blocksOf(sections),
    };
  });
}

/** For templates without one. */
const defaultHint = readSections('=== hint ===\nIt is known that response {{best}} is the best one.').sections.get(
  'hint',
)!;

/** Reads a meta-RM template; tells all that is wrong with it at once. */
export function parseMetaTemplate(text: string): ParsedTemplate<MetaTemplate> {
  return parsed(text, metaRules, (sections) => ({
    system: sections.get('system'),
    user: sections.get('user')!,
    text: sections.get('text'),
    judgement: sections.get('judgement')!,
    ...blocksOf(sections),
  }));
}

function parsed<T>(
  text: string,
  rules: Readonly<Record<string, SectionRule>>,
  build: (sections: ReadonlyMap<string, Section>) => T,
): ParsedTemplate<T> {
  if (text.length > limits.templateCharsMax) {
    const description = `${text.length} characters; at most ${limits.templateCharsMax} are taken`;
    return { kind: 'violations', violations: [{ field: 'template', description }] };
  }
  const { sections, violations } = readSections(text);
  for (const [name, rule] of Object.entries(rules)) {
    const section = sections.get(name);
    if (section !== undefined) violations.push(...sectionViolations(name, section, rule));
    else if (rule.required) violations.push({ field: `template.${name}`, description: 'the section is missing' });
  }
  for (const name of sections.keys()) {
    if (!Object.hasOwn(rules, name)) {
      const description = `no such section; known are ${Object.keys(rules).join(', ')}`;
      violations.push({ field: `template.${name}`, description });
    }
  }
  return violations.length > 0 ? { kind: 'violations', violations } : { kind: 'ok', template: build(sections) };
}

function sectionViolations(name: string, section: Section, rule: SectionRule): Violation[] {
  const field = `template.${name}`;
  const slots = slotsOf(section);
  const found: Violation[] = [];
  for (const slot of rule.must) {
    if (!slots.includes(slot)) found.push({ field, description: `{{${slot}}} is missing` });
  }
  for (const slot of new Set(slots)) {
    if (!rule.must.includes(slot) && !rule.may.includes(slot))
      found.push({ field, description: `{{${slot}}} means nothing here` });
  }
  if (rule.must.includes('text')) {
    if (slots.filter((slot) => slot === 'text').length > 1)
      found.push({ field, description: '{{text}} is there twice' });
    if (holdsDot(section.source))
      found.push({ field, description: 'a marker may not hold U+00B7, which makes imitations of it harmless' });
  }
  return found;
}

function blocksOf(sections: ReadonlyMap<string, Section>): Blocks {
  const blocks: string[] = [];
  const instructions = sections.has('hint') ? [] : [defaultHint.source];
  for (const [name, { source }] of sections) {
    if (name in blockRules || name === 'judgement') blocks.push(...source.split('{{text}}'));
    else instructions.push(source);
  }
  return {
    turn: sections.get('turn')!,
    response: sections.get('response')!,
    reference: sections.get('reference')!,
    principles: sections.get('principles')!,
    markers: findMarkers({ blocks, instructions }),
  };
}

/** What a prompt is made of besides its template. */
export interface PromptInput {
  readonly content: Content;
  /** permutation[place] = index of the response shown in that place. */
  readonly permutation: readonly number[];
  /** 4..64 letters and digits; one per request. */
  readonly nonce: string;
  /** Find the engine's own control tokens (tokenFinders). */
  readonly ownTokens?: readonly Finder[];
}

const noTokens: readonly Finder[] = [];

/** The chat that asks a GRM for one sample. */
export function renderPrompt(template: Template, input: PromptInput): PromptMessage[] {
  const n = input.permutation.length;
  const section = n === 1 ? template.single : n === 2 ? template.paired : template.list;
  const values = { ...contentValues(template, input), box: boxShape(n) };
  const user = fill(section, values);
  const { hintedBest } = input.content;
  if (hintedBest === undefined) return chat(template.system, user, values);
  const place = input.permutation.indexOf(hintedBest);
  if (place < 0) throw new RangeError(`hint: there is no response ${hintedBest}`);
  const hint = fill(template.hint, { ...values, best: String(place + 1) });
  return chat(template.system, `${user}\n\n${hint}`, values);
}

export interface MetaPromptInput {
  readonly content: Content;
  /** The sample to rank. Responses are shown in the order that its critique speaks of. */
  readonly sample: Pick<ScoredSample, 'permutation' | 'principles' | 'critique' | 'shownScores'>;
  readonly nonce: string;
  readonly ownTokens?: readonly Finder[];
}

/** What a meta RM is asked about one sample: as a chat that wants Yes or No, and as plain text for scalar heads. */
export function renderMetaPrompt(
  template: MetaTemplate,
  { content, sample, nonce, ownTokens = noTokens }: MetaPromptInput,
): { readonly messages: PromptMessage[]; readonly text: string } {
  const shownContent = contentValues(template, { content, permutation: sample.permutation, nonce, ownTokens });
  const others = [...template.markers.inJudgement, ...ownTokens];
  const judgement = inert(judgementText(sample), noncePattern(nonce), others);
  const values = { ...shownContent, judgement: fill(template.judgement, { text: judgement, nonce }) };
  const messages = chat(template.system, fill(template.user, values), values);
  const text =
    template.text === undefined ? messages.map((message) => message.content).join('\n\n') : fill(template.text, values);
  return { messages, text };
}

/** A sample in the words of the output contract. */
function judgementText(sample: MetaPromptInput['sample']): string {
  const parts = [`Scores: \\boxed{${sample.shownScores.join(', ')}}`];
  if (sample.critique !== '') parts.unshift(`Analysis:\n${sample.critique}`);
  if (sample.principles !== '') parts.unshift(`Specific Criteria:\n${sample.principles}`);
  return parts.join('\n');
}

function chat(
  systemSection: Section | undefined,
  user: string,
  values: Readonly<Record<string, string>>,
): PromptMessage[] {
  const messages: PromptMessage[] = [{ role: 'user', content: user }];
  if (systemSection !== undefined) messages.unshift({ role: 'system', content: fill(systemSection, values) });
  return messages;
}

/** The question as placeholders see it; every text in it is inert. */
function contentValues(blocks: Blocks, { content, permutation, nonce, ownTokens = noTokens }: PromptInput) {
  const safe = safeTexts(blocks, content, nonce, ownTokens);
  const optional = (around: Section, text: string) => (text === '' ? '' : fill(around, { text, nonce }));
  const turns = content.messages.map(({ role }, at) => fill(blocks.turn, { role, text: safe.messages[at]!, nonce }));
  const responses = permutation.map((response, place) => {
    const text = safe.responses[response];
    if (text === undefined) throw new RangeError(`permutation: there is no response ${response}`);
    return fill(blocks.response, { number: String(place + 1), text, nonce });
  });
  return {
    n: String(permutation.length),
    nonce,
    query: turns.join('\n'),
    reference: optional(blocks.reference, safe.reference),
    principles: optional(blocks.principles, safe.principles),
    responses: responses.join('\n'),
  };
}

interface SafeTexts {
  readonly blocks: Blocks;
  readonly nonce: string;
  readonly ownTokens: readonly Finder[];
  readonly messages: readonly string[];
  readonly responses: readonly string[];
  readonly reference: string;
  readonly principles: string;
}

/** The last of each content: its samples are rendered order by order, and none of them changes its texts. */
const lastSafe = new WeakMap<Content, SafeTexts>();

function safeTexts(blocks: Blocks, content: Content, nonce: string, ownTokens: readonly Finder[]): SafeTexts {
  const last = lastSafe.get(content);
  if (last?.blocks === blocks && last.nonce === nonce && last.ownTokens === ownTokens) return last;
  const secret = noncePattern(nonce);
  const others = [...blocks.markers.inContent, ...ownTokens];
  const safe = (text: string) => inert(text, secret, others);
  const made: SafeTexts = {
    blocks,
    nonce,
    ownTokens,
    messages: content.messages.map((message) => safe(message.content)),
    responses: content.responses.map(safe),
    reference: safe(content.reference ?? ''),
    principles: safe(principleLines(content.principles)),
  };
  lastSafe.set(content, made);
  return made;
}

/** Weights are text for the model; nothing multiplies by them. */
function principleLines(principles: readonly Principle[]): string {
  return principles
    .map(
      ({ text, weightPercent }, at) =>
        `${at + 1}. ${text}${weightPercent === undefined ? '' : ` (weight ${weightPercent}%)`}`,
    )
    .join('\n');
}

/** Letters, not digits: a model that copies the shape instead of scoring must not get a score for it (promise P7). */
function boxShape(n: number): string {
  return `\\boxed{${n === 1 ? 'x' : Array.from({ length: n }, (_, place) => `x${place + 1}`).join(', ')}}`;
}
