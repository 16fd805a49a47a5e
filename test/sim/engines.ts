// The simulation's engines: what a sample is depends on the sample alone (promise P3), what goes wrong on the way is the weather's.

import { deriveSeed } from '../../src/grm/seed.js';
import type { RankResult } from '../../src/engine/engine.js';
import type { Clock } from '../../src/process/clock.js';
import {
  scriptedEngine,
  scriptedMetaEngine,
  seededScores,
  type Answer,
  type ScriptedEngine,
  type ScriptedMetaEngine,
} from '../support/scripted-engine.js';
import type { Chance } from './chance.js';
import type { EnginePlan } from './scenario.js';

export interface EngineWorld {
  readonly plan: EnginePlan;
  readonly chance: Chance;
  readonly isCalm: () => boolean;
  /** An engine begins with a sample; true when that kills the worker. */
  readonly drawn: (requestId: string, index: number) => boolean;
  /** A meta engine begins with a text; true when that kills the worker. */
  readonly ranked: (requestId: string, text: string) => boolean;
}

const badTexts: readonly Answer[] = [
  { kind: 'text', text: 'I cannot judge this.' },
  { kind: 'text', text: 'Scores: \\boxed{11, 0, 3, 4}' },
  { kind: 'text', text: 'Analysis: the first one is', finishReason: 'length' },
  { kind: 'text', text: 'Scores: \\boxed{good, bad}' },
  { kind: 'terminal', why: 'context_exceeded', reason: 'the prompt does not fit' },
];

export function simulatedEngine(clock: Clock, world: EngineWorld): ScriptedEngine {
  const { plan, chance } = world;
  return scriptedEngine({
    clock,
    answer: (spec, job, responses): Answer => {
      if (world.drawn(job.requestId, spec.index)) return { kind: 'never' };
      const afterMs = afterMsOf(world);
      const trouble = world.isCalm() ? undefined : troubleOf(plan, chance);
      if (trouble) return { ...trouble, afterMs };
      const nature = deriveSeed('nature', spec.seed) % 100;
      if (nature < 15) return { ...badTexts[nature % badTexts.length]!, afterMs };
      return { kind: 'scores', shown: seededScores(spec, job, responses), afterMs };
    },
  });
}

export function simulatedMetaEngine(clock: Clock, world: EngineWorld): ScriptedMetaEngine {
  const { plan, chance } = world;
  return scriptedMetaEngine({
    clock,
    hangs: ({ requestId, text }) => world.ranked(requestId, text),
    rank: (job): RankResult => {
      const trouble = world.isCalm() ? undefined : troubleOf({ ...plan, hangs: 0 }, chance);
      if (trouble?.kind === 'retryable') return trouble;
      if (trouble?.kind === 'closed') return { kind: 'cancelled' };
      const nature = deriveSeed('meta', job.text);
      if (nature % 100 < 5) return { kind: 'terminal', reason: 'the text cannot be ranked' };
      return { kind: 'logit', metaReward: ((nature >>> 8) % 4_096) / 256 - 8 };
    },
  });
}

function troubleOf(
  plan: EnginePlan,
  chance: Chance,
): Extract<Answer, { kind: 'retryable' | 'closed' | 'never' }> | undefined {
  if (chance.is(plan.hangs)) return { kind: 'never' };
  if (chance.is(plan.closed)) return { kind: 'closed' };
  if (chance.is(plan.untaken)) return { kind: 'retryable', reason: 'the engine is full', untaken: true };
  if (chance.is(plan.retryable)) return { kind: 'retryable', reason: 'the stream was cut' };
  return undefined;
}

function afterMsOf({ plan, chance, isCalm }: EngineWorld): number {
  return !isCalm() && chance.is(plan.slow) ? chance.whole(1, plan.slowMsMax) : chance.whole(1, 50);
}
