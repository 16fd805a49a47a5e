// Engines that do what the test says, on the test's clock: results, delays and faults are a function of what is asked, so the same request
// gives the same samples whichever engine draws them and whenever. They keep N1-N3 of src/engine/engine.ts.

import { createHash } from 'node:crypto';
import type {
  DrawJob,
  DrawResult,
  DrawSpec,
  Engine,
  EngineGauges,
  MetaEngine,
  RankJob,
  RankResult,
  Untaken,
} from '../../src/engine/engine.js';
import { uint32Stream } from '../../src/grm/seed.js';
import type { Clock } from '../../src/process/clock.js';

/**
 * What becomes of one sample, `afterMs` after it was asked for. `never`: the engine hangs until the deadline or a cancel. `closed`: the engine
 * is closed under it.
 */
export type Answer = { readonly afterMs?: number } & (
  | { readonly kind: 'scores'; readonly shown: readonly number[] }
  | { readonly kind: 'text'; readonly text: string; readonly finishReason?: string }
  | { readonly kind: 'retryable'; readonly reason: string; readonly retryAfterMs?: number; readonly untaken?: Untaken }
  | { readonly kind: 'terminal'; readonly why: 'context_exceeded' | 'rejected'; readonly reason: string }
  | { readonly kind: 'never' }
  | { readonly kind: 'closed' }
);

export interface Drawn extends DrawSpec {
  readonly requestId: string;
  readonly atMs: number;
}

export interface ScriptedEngine extends Engine {
  /** Every sample that was asked for: what was paid. */
  readonly drawn: Drawn[];
  readonly jobs: DrawJob[];
  /** Samples in the engine now. */
  running(): number;
}

export interface ScriptedEngineOptions {
  readonly clock: Clock;
  readonly name?: string;
  readonly model?: string;
  /** Id of the judge that it is. Default: scriptedJudge's. */
  readonly judge?: string;
  /** Default: scores from the seed and the prompt, after 20 ms. */
  readonly answer?: (spec: DrawSpec, job: DrawJob, responses: number) => Answer;
}

export const engineMsDefault = 20;

/** A judge without judgement: whole scores 1..10 from the seed and the prompt alone. */
export function seededScores(spec: DrawSpec, job: DrawJob, responses: number): readonly number[] {
  const prompt = job.messages.map((message) => message.content).join('\n');
  const next = uint32Stream((spec.seed ^ createHash('sha256').update(prompt).digest().readUInt32LE()) >>> 0);
  return Array.from({ length: responses }, () => 1 + (next() % 10));
}

export function judgementText(shown: readonly number[]): string {
  return `Specific Criteria: facts 60%, brevity 40%.\nAnalysis: the responses differ.\nScores: \\boxed{${shown.join(', ')}}`;
}

/** What scripted engines say that they are. */
export const scriptedJudge = { id: 'fake-scripted', model: 'scripted-judge' } as const;
export const scriptedMetaJudge = { id: 'fake-scripted-meta', model: 'scripted-meta' } as const;

export function scriptedEngine(options: ScriptedEngineOptions): ScriptedEngine {
  const { clock, name = 'scripted-0', model = scriptedJudge.model, judge = scriptedJudge.id } = options;
  const answer =
    options.answer ??
    ((spec, job, responses): Answer => ({ kind: 'scores', shown: seededScores(spec, job, responses) }));
  const drawn: Drawn[] = [];
  const jobs: DrawJob[] = [];
  let running = 0;

  const draw = async (job: DrawJob, onResult: (result: DrawResult) => void, signal: AbortSignal): Promise<void> => {
    jobs.push(job);
    const responses = job.scoreCount ?? 2;
    await Promise.all(
      job.samples.map(async (spec) => {
        if (signal.aborted) return onResult({ kind: 'cancelled', index: spec.index });
        drawn.push({ ...spec, requestId: job.requestId, atMs: clock.now() });
        const told = answer(spec, job, responses);
        const afterMs = told.afterMs ?? engineMsDefault;
        running++;
        const ended = await elapse(clock, told.kind === 'never' ? Infinity : afterMs, job.deadlineAtMs, signal);
        running--;
        onResult(ended === 'elapsed' ? resultOf(told, spec.index, afterMs) : { kind: 'cancelled', index: spec.index });
      }),
    );
  };
  return { ...bystander(name, model, () => running), judgeId: judge, drawn, jobs, draw, running: () => running };
}

function resultOf(told: Answer, index: number, engineMs: number): DrawResult {
  const usage = { promptTokens: 100, cachedTokens: 60, completionTokens: 40 };
  switch (told.kind) {
    case 'scores':
      return { kind: 'text', index, text: judgementText(told.shown), finishReason: 'stop', usage, engineMs };
    case 'text':
      return { kind: 'text', index, text: told.text, finishReason: told.finishReason ?? 'stop', usage, engineMs };
    case 'retryable': {
      const { reason, retryAfterMs, untaken } = told;
      return {
        kind: 'retryable',
        index,
        reason,
        ...(retryAfterMs !== undefined && { retryAfterMs }),
        ...(untaken && { untaken }),
      };
    }
    case 'terminal':
      return { kind: 'terminal', index, why: told.why, reason: told.reason };
    case 'never':
    case 'closed':
      return { kind: 'cancelled', index };
  }
}

export interface ScriptedMetaEngine extends MetaEngine {
  readonly ranked: RankJob[];
}

export interface ScriptedMetaOptions {
  readonly clock: Clock;
  readonly name?: string;
  readonly model?: string;
  readonly rankMs?: number;
  /** Default: a logit from the text alone. */
  readonly rank?: (job: RankJob) => RankResult;
  /** True: the engine hangs until the deadline or a cancel. Asked when it begins. */
  readonly hangs?: (job: RankJob) => boolean;
}

export function scriptedMetaEngine(options: ScriptedMetaOptions): ScriptedMetaEngine {
  const { clock, name = 'scripted-meta-0', model = 'scripted-meta', rankMs = 5, rank = logitOfText, hangs } = options;
  const ranked: RankJob[] = [];
  return {
    ...bystander(name, model, () => 0),
    judgeId: scriptedMetaJudge.id,
    ranked,
    selfTest: () => Promise.resolve({ kind: 'ok' }),
    async rank(job, signal) {
      ranked.push(job);
      const ended = await elapse(clock, hangs?.(job) === true ? Infinity : rankMs, job.deadlineAtMs, signal);
      return ended === 'elapsed' ? rank(job) : { kind: 'cancelled' };
    },
  };
}

function logitOfText(job: RankJob): RankResult {
  return { kind: 'logit', metaReward: createHash('sha256').update(job.text).digest().readInt16LE() / 4096 };
}

function bystander(name: string, model: string, running: () => number) {
  return {
    name,
    description: `scripted ${model}`,
    model,
    fake: true,
    health: () => Promise.resolve({ kind: 'ok' } as const),
    gauges: (): Promise<EngineGauges> => Promise.resolve({ running: running(), waiting: 0 }),
    close: () => Promise.resolve(),
  };
}

/** Whichever comes first: the time, the deadline or the cancel. */
function elapse(clock: Clock, ms: number, deadlineAtMs: number, signal: AbortSignal): Promise<'elapsed' | 'cut'> {
  if (signal.aborted) return Promise.resolve('cut');
  return new Promise((resolve) => {
    const leftMs = deadlineAtMs - clock.steadyNow();
    const end = (how: 'elapsed' | 'cut'): void => {
      cancel();
      signal.removeEventListener('abort', cut);
      resolve(how);
    };
    const cut = (): void => end('cut');
    const cancel = ms <= leftMs ? clock.after(ms, () => end('elapsed')) : clock.after(leftMs, cut);
    signal.addEventListener('abort', cut);
  });
}
