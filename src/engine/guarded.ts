// Guarded: an engine with its attribution: its failures come out as what they are, and it says when it is out of service.
//
//   U1. What comes out of a guarded engine is `untaken` where the engine is at fault. Where a probe passed, the work is tried once more at once: a
//       gateway's bad moment may have ended just before. What fails then is a try that counts, and terminal where the engine rejected it twice.
//   U2. N1-N3 of engine.ts hold: a sample whose failure is still looked into is reported as cancelled when the draw is aborted, and its
//       deadline bounds the look.

import { setMaxListeners } from 'node:events';
import type { Clock } from '../process/clock.js';
import { steadyNow, systemClock } from '../process/clock.js';
import type { Events } from '../observe/events.js';
import { limits } from '../limits.js';
import { Attribution, outageOf } from './attribution.js';
import type { DrawJob, DrawResult, Engine, MetaEngine, OutOfService, RankJob, RankResult } from './engine.js';
import { knownPair } from './meta-self-test.js';
import { type Cutoff, cutoff } from './openai-cutoff.js';
import { drawOne, findingOf, makeOf, probeEngine } from './probe.js';

export interface GuardOptions {
  readonly events: Events;
  readonly clock?: Clock;
  /** 0..1, for jitter. */
  readonly random?: () => number;
}

type Retry = Extract<DrawResult, { kind: 'retryable' }>;
type RankRetry = Extract<RankResult, { kind: 'retryable' }>;

/** The same engine. It emits `engine.service` when it goes out of service and when it is back. */
export function guardEngine(engine: Engine, options: GuardOptions): Engine {
  const attribution = new Attribution<DrawJob>({
    ...common(engine.name, options),
    probe: (make, signal) => probeEngine(engine, make, signal),
    keyOf: ({ messages, temperature, topP }) => JSON.stringify([messages.map(({ role }) => role), temperature, topP]),
    plain: (make) => ({ ...make, temperature: 1, topP: 1 }),
  });

  const looked = async (failed: Retry, job: DrawJob, cut: Cutoff): Promise<DrawResult> => {
    const outage = outageOf(failed);
    if (outage === undefined) return failed;
    const culprit = await attribution.whose(outage, makeOf(job), cut.signal);
    if (cut.why === 'cancelled') return { kind: 'cancelled', index: failed.index };
    if (culprit === 'engine') return { ...failed, untaken: true };
    // P5: what may have killed an engine is not put to it again at once.
    if (failed.trouble === 'broke') return counted(failed);
    const again = await drawOne(engine, job, failed.index, cut.signal);
    if (again.kind === 'text') attribution.succeeded(makeOf(job));
    if (again.kind !== 'retryable' || failed.trouble !== 'unclear' || again.trouble !== 'unclear') return again;
    return { kind: 'terminal', index: failed.index, why: 'rejected', reason: again.reason };
  };

  return withOverrides(engine, {
    ...service(engine, attribution),
    async draw(job, onResult, signal) {
      const looks: Promise<void>[] = [];
      // One listener on the caller's signal, however many samples are looked into.
      let cut: Cutoff | undefined;
      const heard = (result: DrawResult): void => {
        if (result.kind === 'text') attribution.succeeded(makeOf(job));
        if (result.kind !== 'retryable') return onResult(result);
        if (cut === undefined) {
          cut = cutoff([signal], job.deadlineAtMs);
          setMaxListeners(0, cut.signal);
        }
        looks.push(looked(result, job, cut).then(onResult));
      };
      try {
        await engine.draw(job, heard, signal);
        await Promise.all(looks);
      } finally {
        cut?.dispose();
      }
    },
  });
}

/** As guardEngine. */
export function guardMetaEngine(engine: MetaEngine, options: GuardOptions): MetaEngine {
  const attribution = new Attribution<undefined>({
    ...common(engine.name, options),
    probe: async (_, signal) => {
      const job = { ...knownPair.right, deadlineAtMs: steadyNow() + limits.breakerProbeMs, requestId: 'probe' };
      const result = await (engine.probe?.(job, signal) ?? engine.rank(job, signal));
      return findingOf(result, engine.probe !== undefined);
    },
    keyOf: () => '',
    plain: () => undefined,
  });

  const looked = async (failed: RankRetry, job: RankJob, signal: AbortSignal): Promise<RankResult> => {
    const outage = outageOf(failed);
    if (outage === undefined) return failed;
    const cut = cutoff([signal], job.deadlineAtMs);
    try {
      const culprit = await attribution.whose(outage, undefined, cut.signal);
      if (signal.aborted) return { kind: 'cancelled' };
      if (culprit === 'engine') return { ...failed, untaken: true };
    } finally {
      cut.dispose();
    }
    if (failed.trouble === 'broke') return counted(failed);
    const again = await engine.rank(job, signal);
    if (again.kind === 'logit') attribution.succeeded(undefined);
    if (again.kind !== 'retryable' || failed.trouble !== 'unclear' || again.trouble !== 'unclear') return again;
    return { kind: 'terminal', reason: again.reason };
  };

  return withOverrides(engine, {
    ...service(engine, attribution),
    async rank(job, signal) {
      const result = await engine.rank(job, signal);
      if (result.kind === 'logit') attribution.succeeded(undefined);
      return result.kind === 'retryable' ? looked(result, job, signal) : result;
    },
  });
}

function common(engine: string, { events, clock = systemClock, random = Math.random }: GuardOptions) {
  return {
    clock,
    random,
    onChange: (out: OutOfService | undefined): void =>
      events.emit('engine.service', {
        engine,
        state: out ? 'out' : 'back',
        ...(out && { cause: out.cause, reason: out.reason }),
      }),
  };
}

/** The engine with some of its members replaced; whatever else it has is still its own. */
function withOverrides<E extends object>(engine: E, overrides: Partial<E>): E {
  return new Proxy(engine, {
    get(target, key) {
      if (key in overrides) return overrides[key as keyof E];
      // Members that are private to a class are seen by the object itself alone.
      const member: unknown = Reflect.get(target, key, target);
      return typeof member === 'function' ? (member.bind(target) as unknown) : member;
    },
  });
}

function service(engine: Engine | MetaEngine, attribution: Pick<Attribution<unknown>, 'outOfService' | 'close'>) {
  return {
    outOfService: () => attribution.outOfService(),
    close: async () => {
      attribution.close();
      await engine.close();
    },
  };
}

/** A failure that is the work's. */
function counted<T extends Retry | RankRetry>(failed: T): T {
  const { untaken: _, ...rest } = failed;
  return rest as T;
}
