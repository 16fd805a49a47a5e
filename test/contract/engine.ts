// What every engine keeps (src/engine/engine.ts), asked of each kind through the interface alone.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DrawJob, DrawResult, Engine, PromptMessage } from '../../src/engine/engine.js';

export interface EngineContractOptions {
  /** What to judge; default: a small pair between markers. */
  readonly messages?: readonly PromptMessage[];
  /** Enough tokens that a generation is still under way a moment after its start. Default 200. */
  readonly maxTokens?: number;
  /** Longest time for one draw of four samples, milliseconds. Default 20 s. */
  readonly drawMs?: number;
}

const pair: readonly PromptMessage[] = [
  {
    role: 'user',
    content:
      'Which answer is better? End with Scores: \\boxed{a, b}.\n' +
      '<<<response 1 c0de>>>\nquality=8 Four.\n<<<end of response 1 c0de>>>\n' +
      '<<<response 2 c0de>>>\nquality=3 Five.\n<<<end of response 2 c0de>>>',
  },
];

/** Runs the suite on engines that `makeEngine` opens: one for most tests, a second one to be closed. */
export function engineContract(
  name: string,
  makeEngine: () => Promise<Engine>,
  options: EngineContractOptions = {},
): void {
  const drawMs = options.drawMs ?? 20_000;

  const jobOf = (more: Partial<DrawJob> = {}): DrawJob => ({
    messages: options.messages ?? pair,
    samples: [11, 22, 33, 44].map((seed, index) => ({ index, seed })),
    temperature: 0.8,
    topP: 1,
    maxTokens: options.maxTokens ?? 200,
    deadlineAtMs: Date.now() + drawMs,
    priority: 0,
    requestId: 'contract',
    ...more,
  });

  async function draw(
    engine: Engine,
    job: DrawJob,
    signal: AbortSignal = new AbortController().signal,
  ): Promise<DrawResult[]> {
    const results: DrawResult[] = [];
    await engine.draw(job, (result) => results.push(result), signal);
    return results.sort((a, b) => a.index - b.index);
  }

  const textsOf = (results: readonly DrawResult[]) =>
    results.map((result) => {
      if (result.kind !== 'text') throw new Error(`sample ${result.index} is ${JSON.stringify(result)}`);
      return result.text;
    });

  describe(`${name} keeps the engine contract`, () => {
    let engine: Engine;
    beforeAll(async () => {
      engine = await makeEngine();
    });
    afterAll(async () => {
      await engine.close();
    });

    it('N1: reports every sample once, with its text, tokens and reason, under the index it was given', async () => {
      const samples = [7, 3, 100].map((index) => ({ index, seed: index }));
      const results = await draw(engine, jobOf({ samples }));
      expect(results.map((result) => result.index)).toEqual([3, 7, 100]);
      for (const result of results) {
        if (result.kind !== 'text') throw new Error(JSON.stringify(result));
        expect(['stop', 'length']).toContain(result.finishReason);
        expect(result.usage.promptTokens).toBeGreaterThan(0);
        expect(result.usage.completionTokens).toBeGreaterThan(0);
        expect(result.usage.cachedTokens).toBeLessThanOrEqual(result.usage.promptTokens);
        expect(result.engineMs).toBeGreaterThanOrEqual(0);
      }
    });

    it('N1: a draw of no samples resolves without a result', async () => {
      expect(await draw(engine, jobOf({ samples: [] }))).toEqual([]);
    });

    it('P3: the same seed gives the same text, alone or in company; other seeds differ', async () => {
      const together = textsOf(await draw(engine, jobOf()));
      const alone = textsOf(await draw(engine, jobOf({ samples: [{ index: 0, seed: 33 }] })));
      expect(alone[0]).toBe(together[2]);
      expect(new Set(together).size).toBeGreaterThan(1);
    });

    it('P3: greedy draws do not depend on the seed', async () => {
      expect(new Set(textsOf(await draw(engine, jobOf({ temperature: 0 })))).size).toBe(1);
    });

    it('stops at maxTokens and says length', async () => {
      const [result] = await draw(engine, jobOf({ maxTokens: 3, samples: [{ index: 0, seed: 1 }] }));
      expect(result).toMatchObject({ kind: 'text', finishReason: 'length', usage: { completionTokens: 3 } });
    });

    it('N2: an aborted draw reports the rest as cancelled, resolves, and leaves the engine free', async () => {
      const early = await draw(engine, jobOf(), AbortSignal.abort());
      expect(early.map((result) => result.kind)).toEqual(['cancelled', 'cancelled', 'cancelled', 'cancelled']);

      const controller = new AbortController();
      const drawing = draw(engine, jobOf(), controller.signal);
      setImmediate(() => controller.abort());
      const results = await drawing;
      expect(results.map((result) => result.index)).toEqual([0, 1, 2, 3]);
      expect(results.every((result) => result.kind === 'cancelled' || result.kind === 'text')).toBe(true);
      await expect.poll(async () => (await engine.gauges()).running, { timeout: drawMs }).toBe(0);
    });

    it('N3: a deadline that has passed ends the draw at once, with every sample reported and none as text', async () => {
      const results = await draw(engine, jobOf({ deadlineAtMs: Date.now() - 1 }));
      expect(results.map((result) => result.index)).toEqual([0, 1, 2, 3]);
      expect(results.some((result) => result.kind === 'text')).toBe(false);
    });

    it('tells its health, its gauges and itself', async () => {
      expect(await engine.health(new AbortController().signal)).toEqual({ kind: 'ok' });
      const gauges = await engine.gauges();
      expect(gauges.running).toBeGreaterThanOrEqual(0);
      expect(gauges.waiting).toBeGreaterThanOrEqual(0);
      expect([engine.name, engine.description, engine.model].every((text) => text.length > 0)).toBe(true);
    });

    it('N2: close cancels what runs, and what is asked later', async () => {
      const closing = await makeEngine();
      const drawing = draw(closing, jobOf());
      await closing.close();
      const results = await drawing;
      expect(results.map((result) => result.index)).toEqual([0, 1, 2, 3]);
      expect(results.every((result) => result.kind === 'cancelled' || result.kind === 'text')).toBe(true);
      expect((await draw(closing, jobOf())).map((result) => result.kind)).toEqual(Array(4).fill('cancelled'));
    });
  });
}
