// A worker with one scripted engine on the queue model, whose deliveries a test executes one by one.

import type { DrawSpec } from '../../src/engine/engine.js';
import { planShards } from '../../src/work/plan.js';
import { executeShard, type ReserveEngine } from '../../src/worker/execute-shard.js';
import { EnginePool } from '../../src/worker/pool.js';
import { scriptedEngine, seededScores, type Answer } from './scripted-engine.js';
import { workerSetting } from './worker-setting.js';

type Setting = ReturnType<typeof workerSetting>;

/** A worker with one scripted engine; `run` executes the next delivery to its end. */
export async function shardWorker(
  answer?: (spec: DrawSpec) => Answer,
  options: Parameters<typeof workerSetting>[0] = {},
) {
  const setting: Setting = workerSetting(options);
  await setting.putTemplate();
  const engine = scriptedEngine({
    clock: setting.clock,
    answer: (spec, job, n) => answer?.(spec) ?? { kind: 'scores', shown: seededScores(spec, job, n) },
  });
  let up = true;
  const pool = new EnginePool([{ name: 'e', slots: 8, current: () => (up ? engine : undefined) }]);
  const puller = await setting.queue.work.pullShards('grm');
  let hurry = new AbortController();
  let freed = 0;
  const begin = async (): Promise<{ deliveries: number; done: Promise<void> }> => {
    const delivery = await setting.next((max, signal) => puller.pull(max, signal));
    const reserve: ReserveEngine = (samples, avoid) => pool.reserve(samples, avoid);
    const done = executeShard(delivery, reserve, setting.context, hurry.signal, () => {
      freed++;
    });
    return { deliveries: delivery.deliveries, done };
  };
  const run = async (): Promise<number> => {
    const { deliveries, done } = await begin();
    await setting.clock.until(done, 120_000);
    return deliveries;
  };
  return {
    ...setting,
    engine,
    pool,
    get hurry(): AbortController {
      return hurry;
    },
    set hurry(fresh: AbortController) {
      hurry = fresh;
    },
    begin,
    run,
    freed: () => freed,
    engineUp: (now: boolean) => void (up = now),
  };
}

/** All indexes of one shard of the record. */
export function firstShard(record: Parameters<typeof planShards>[0]): number[] {
  const context = { deadlineAtMs: 0, nowMs: 0, samplesMax: 8, inline: true, run: '' };
  return planShards(record, [0, 1, 2, 3], context)[0]!.samples.map(({ index }) => index);
}
