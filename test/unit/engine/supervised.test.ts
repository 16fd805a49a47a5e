import { describe, expect, it } from 'vitest';
import type { DrawJob, DrawResult, Engine } from '../../../src/engine/engine.js';
import { superviseEngine } from '../../../src/engine/supervised.js';

/** An engine whose samples end when the test says so. */
function handEngine(): { readonly engine: Engine; finish: (index: number) => void; fail: () => void } {
  let report: (result: DrawResult) => void = () => undefined;
  let leave: (error?: Error) => void = () => undefined;
  return {
    finish: (index) => report({ kind: 'cancelled', index }),
    fail: () => leave(new Error('bug')),
    engine: {
      name: 'hand',
      description: 'by hand',
      model: 'm',
      fake: true,
      draw: (job, onResult) =>
        new Promise<void>((resolve, reject) => {
          let open = job.samples.length;
          leave = (error) => (error ? reject(error) : resolve());
          report = (result) => {
            onResult(result);
            open -= 1;
            if (open === 0) leave();
          };
        }),
      health: () => Promise.resolve({ kind: 'ok' }),
      gauges: () => Promise.resolve({ running: 0, waiting: 0 }),
      close: () => Promise.resolve(),
    },
  };
}

const job = { samples: [0, 1, 2].map((index) => ({ index, seed: index })) } as unknown as DrawJob;

describe('supervised engine', () => {
  it('counts the samples that it has not reported', async () => {
    const { engine, finish } = handEngine();
    const supervised = superviseEngine(engine);
    const results: number[] = [];
    const drawn = supervised.draw(job, ({ index }) => void results.push(index), new AbortController().signal);
    expect(supervised.running()).toBe(3);
    finish(1);
    expect(supervised.running()).toBe(2);
    finish(0);
    finish(2);
    await drawn;
    expect(supervised.running()).toBe(0);
    expect(results).toEqual([1, 0, 2]);
  });

  it('a draw that throws leaves nothing counted', async () => {
    const { engine, finish, fail } = handEngine();
    const supervised = superviseEngine(engine, Promise.resolve('gone'));
    const drawn = supervised.draw(job, () => undefined, new AbortController().signal);
    finish(0);
    fail();
    await expect(drawn).rejects.toThrow('bug');
    expect(supervised.running()).toBe(0);
    expect(await supervised.died).toBe('gone');
  });
});
