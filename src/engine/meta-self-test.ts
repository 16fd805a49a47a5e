// The start-up self-test of a meta RM: does a known pair come back as two raw logits? Pure but for the questions it asks.
//
// A squashed logit still ranks, so nothing would ever fail; but near 0 and 1 all critiques look alike, and meta_weighted votes are wrong. Two
// signs tell a raw logit: a value outside [0,1], or a switch that changes the value.
import type { Health } from './engine.js';
import { type ActivationSwitch, activationNames, type HeadInput, type HeadReading } from './meta-heads.js';

const question = 'What is the capital of France?';
const rubric =
  'You judge whether a critique of answers is right. Answer Yes when its scores rank the answers as they deserve, else No.';
const answers =
  '<<<response 1 selftest>>>\nThe capital of France is Paris. quality=9\n<<<end of response 1 selftest>>>\n' +
  '<<<response 2 selftest>>>\nThe capital of France is Rome. quality=2\n<<<end of response 2 selftest>>>';
const rightCritique =
  'Specific Criteria: correctness.\nAnalysis: Response 1 names Paris, which is correct. Response 2 names Rome, which is wrong.\nScores: \\boxed{9, 2}';
const wrongCritique =
  'Specific Criteria: correctness.\nAnalysis: Response 1 is wrong, the capital is not Paris. Response 2 is perfect.\nScores: \\boxed{2, 9}';

function inputOf(critique: string): HeadInput {
  const asked = `Query: ${question}\n\n${answers}\n\nCritique:\n${critique}\n\nIs this critique right?`;
  return { messages: [{ role: 'user', content: `${rubric}\n\n${asked}` }], text: asked };
}

export const knownPair = { right: inputOf(rightCritique), wrong: inputOf(wrongCritique) } as const;

/** One question: the logit as it came, or why there is none. */
export type Ask = (
  input: HeadInput,
  activation: ActivationSwitch,
) => Promise<Extract<HeadReading, { kind: 'logit' }> | { readonly kind: 'failed'; readonly reason: string }>;

export type Finding =
  /** `activation` is the switch that this server obeys; undefined when it needs none. */
  { readonly health: Health; readonly activation: ActivationSwitch | undefined };

/** For heads without a switch: the pair must differ. */
export async function testPlainHead(ask: Ask): Promise<Finding> {
  const pair = await askPair(ask, { name: 'use_activation', on: false });
  if (pair.kind === 'failed') return failing(pair.reason);
  return pair.right === pair.wrong ? failing(alike(pair.right)) : { health: { kind: 'ok' }, activation: undefined };
}

/** For heads with a switch: tries its names, newest first, and takes the first that gives raw logits. */
export async function testSwitchedHead(ask: Ask): Promise<Finding> {
  let squashed: Pair | undefined;
  let refusal: string | undefined;
  for (const name of activationNames) {
    const off: ActivationSwitch = { name, on: false };
    const pair = await askPair(ask, off);
    // A server may refuse a name that it does not know, or no longer knows: the next one decides.
    if (pair.kind === 'failed') {
      refusal = pair.reason;
      continue;
    }
    const obeyed = await isObeyed(ask, name, pair);
    const outside = !pair.withinUnit;
    if ((obeyed || outside) && pair.right !== pair.wrong) return { health: { kind: 'ok' }, activation: off };
    if (obeyed || outside) return failing(alike(pair.right));
    squashed = pair;
  }
  if (squashed === undefined) return failing(refusal ?? 'no answer');
  return failing(
    `the meta RM returns squashed scores (${squashed.right} and ${squashed.wrong} for a right and a wrong critique), whatever ` +
      `${activationNames.map((name) => `${name}:false`).join(', ')} says. Start vLLM with ` +
      `--pooler-config '{"use_activation": false}' (older: --override-pooler-config '{"activation": false}' or '{"softmax": false}')`,
  );
}

interface Pair {
  readonly kind: 'pair';
  readonly right: number;
  readonly wrong: number;
  readonly withinUnit: boolean;
}

async function askPair(
  ask: Ask,
  activation: ActivationSwitch,
): Promise<Pair | { readonly kind: 'failed'; readonly reason: string }> {
  const right = await ask(knownPair.right, activation);
  if (right.kind === 'failed') return right;
  const wrong = await ask(knownPair.wrong, activation);
  if (wrong.kind === 'failed') return wrong;
  return { kind: 'pair', right: right.logit, wrong: wrong.logit, withinUnit: right.withinUnit && wrong.withinUnit };
}

/** A server that knows the name answers differently with the activation on. */
async function isObeyed(ask: Ask, name: ActivationSwitch['name'], off: Pair): Promise<boolean> {
  const on = await askPair(ask, { name, on: true });
  return on.kind === 'pair' && (on.right !== off.right || on.wrong !== off.wrong);
}

function alike(value: number): string {
  return (
    `a right and a wrong critique both score ${value}: the model tells nothing apart. ` +
    'Is it a reward model with a trained scalar head, and does the meta template fit it?'
  );
}

function failing(reason: string): Finding {
  return { health: { kind: 'failing', reason: `meta self-test: ${reason}` }, activation: undefined };
}
