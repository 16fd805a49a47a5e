import { describe, expect, it } from 'vitest';
import type { ActivationName, ActivationSwitch, HeadInput } from '../../../src/engine/meta-heads.js';
import { type Ask, knownPair, testPlainHead, testSwitchedHead } from '../../../src/engine/meta-self-test.js';

const reading = (logit: number) => ({ kind: 'logit', logit, withinUnit: logit >= 0 && logit <= 1 }) as const;
const sigmoid = (logit: number) => 1 / (1 + Math.exp(-logit));
const logitOf = (input: HeadInput, right: number, wrong: number) => (input === knownPair.right ? right : wrong);

/** A server that knows `names` and squashes unless one of them says no. */
function server(names: readonly ActivationName[], right: number, wrong: number): Ask {
  return (input, activation: ActivationSwitch) => {
    const logit = logitOf(input, right, wrong);
    const raw = names.includes(activation.name) && !activation.on;
    return Promise.resolve(reading(raw ? logit : sigmoid(logit)));
  };
}

describe('the self-test of a head with a switch', () => {
  it.each(['use_activation', 'activation', 'softmax'] as const)('finds that the server knows %s', async (name) => {
    expect(await testSwitchedHead(server([name], 4, -3))).toEqual({
      health: { kind: 'ok' },
      activation: { name, on: false },
    });
  });

  it('passes raw logits that happen to lie within [0,1], since the switch changes them', async () => {
    expect(await testSwitchedHead(server(['activation'], 0.9, 0.2))).toMatchObject({ health: { kind: 'ok' } });
  });

  it('passes a server that has no activation at all', async () => {
    const raw: Ask = (input) => Promise.resolve(reading(logitOf(input, 2, -2)));
    expect(await testSwitchedHead(raw)).toMatchObject({ health: { kind: 'ok' } });
  });

  it('fails with the fix when every name is ignored and the scores are squashed', async () => {
    const { health } = await testSwitchedHead(server([], 4, -3));
    expect(health.kind).toBe('failing');
    expect(health.kind === 'failing' && health.reason).toMatch(/squashed.*--pooler-config/);
  });

  it('is not taken in by two squashed labels, whose difference may be negative', async () => {
    const softmaxed: Ask = (input) =>
      Promise.resolve({ kind: 'logit', logit: logitOf(input, 0.8, -0.7), withinUnit: true });
    expect(await testSwitchedHead(softmaxed)).toMatchObject({ health: { kind: 'failing' } });
  });

  it('fails when a right and a wrong critique score alike', async () => {
    const { health } = await testSwitchedHead(server(['use_activation'], 2, 2));
    expect(health.kind === 'failing' && health.reason).toContain('both score 2');
  });

  it('goes on to the next name when one is refused, and reports the refusal when all are', async () => {
    const strict: Ask = (input, activation) =>
      activation.name === 'softmax'
        ? server(['softmax'], 4, -3)(input, activation)
        : Promise.resolve({ kind: 'failed', reason: 'HTTP 400: unknown field' });
    expect(await testSwitchedHead(strict)).toMatchObject({ activation: { name: 'softmax' } });
    const refusing: Ask = () => Promise.resolve({ kind: 'failed', reason: 'HTTP 500' });
    expect(await testSwitchedHead(refusing)).toMatchObject({
      health: { kind: 'failing', reason: 'meta self-test: HTTP 500' },
    });
  });
});

describe('the self-test of a head without a switch', () => {
  it('wants the pair to differ', async () => {
    const ask =
      (right: number, wrong: number): Ask =>
      (input) =>
        Promise.resolve(reading(logitOf(input, right, wrong)));
    expect(await testPlainHead(ask(1, 0))).toMatchObject({ health: { kind: 'ok' } });
    expect(await testPlainHead(ask(1, 1))).toMatchObject({ health: { kind: 'failing' } });
  });
});
