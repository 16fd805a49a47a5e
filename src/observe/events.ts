// Events: what happens in a process, as a typed map. The code that does the work emits; metrics, log and tests listen.
// Labels that become metric labels are bounded sets; request ids never are.

import type { outageCauses } from './engine-metrics.js';
import type { Class, StoppedBy, VoteMethod } from '../grm/query.js';
import type { SampleInvalidReason, Usage } from '../grm/sample.js';
import type { Degraded, Missing } from '../grm/verdict.js';
import type { FaultKind } from '../fault.js';
import type { Stage } from '../work/shard.js';

export interface EventMap {
  /** A request was accepted (its record is stored). */
  'request.accepted': {
    readonly requestId: string;
    readonly tenant: string;
    readonly class: Class;
    readonly k: number;
    readonly responses: number;
    readonly contentBytes: number;
  };
  /** A caller joined a running request, or was given the stored verdict. */
  'request.known': { readonly requestId: string; readonly how: 'joined' | 'stored' | 'elsewhere' };
  /** A request of a dead coordinator goes on here. */
  'request.taken_over': { readonly requestId: string; readonly owner: string };
  'request.finished': {
    readonly requestId: string;
    readonly tenant: string;
    readonly class: Class;
    readonly outcome: 'valid' | 'invalid' | FaultKind;
    readonly durationMs: number;
    /** Absent when there is no verdict. */
    readonly verdict?: {
      readonly vote: VoteMethod;
      readonly k: number;
      readonly kValid: number;
      readonly degraded: readonly Degraded[];
      /** Samples that the verdict does without; absent where the request had no rule to stop by. */
      readonly samplesSaved?: number;
      /** Those of them that were asked for ahead of the rule all the same. */
      readonly samplesAhead?: number;
      /** Samples that were not there when time ran out. */
      readonly missing?: Missing;
      /** Why drawing stopped before k. */
      readonly stopped?: StoppedBy;
      readonly tie: boolean;
      readonly margin?: number;
      readonly agreement?: number;
    };
  };
  'admission.rejected': {
    readonly tenant: string;
    readonly class: Class;
    readonly reason: FaultKind;
    readonly why:
      'samples' | 'bytes' | 'waiters' | 'queue_full' | 'storage' | 'queue_unavailable' | 'draining' | 'clock';
  };

  /** An engine failed samples, and another one of the same worker tries them. */
  'sample.failed_over': { readonly requestId: string; readonly samples: number; readonly reason: string };
  /** A late shard was asked for once more, elsewhere. */
  'shard.hedged': { readonly requestId: string; readonly samples: number };
  /** A sample that was asked for once more is stored: the second try was the first to bring it. */
  'hedge.won': { readonly requestId: string; readonly index: number };

  /** A worker finished a sample. `outcome` is "scored" or why not. */
  'sample.finished': {
    readonly requestId: string;
    readonly index: number;
    readonly class: Class;
    readonly model: string;
    readonly engine: string;
    readonly outcome: 'scored' | SampleInvalidReason;
    readonly usage: Usage;
    readonly queueMs: number;
    readonly engineMs: number;
  };
  /** A meta worker ranked a sample. */
  'meta.finished': {
    readonly requestId: string;
    readonly index: number;
    readonly model: string;
    readonly outcome: 'ranked' | 'failed';
    readonly queueMs: number;
    readonly engineMs: number;
  };
  /** A result was there already and did not count again (promise P2). */
  'result.suppressed': {
    readonly requestId: string;
    readonly stage: Stage;
    readonly where: 'before_engine' | 'ledger' | 'gather';
  };
  /** Results that the ledger does not take now, for want of room or because it is away: they are held and offered again. */
  'result.held': {
    readonly requestId: string;
    readonly stage: Stage;
    readonly results: number;
    readonly reason: string;
  };
  /** A delivery was handed back for another try. */
  'delivery.retried': {
    readonly requestId: string;
    readonly stage: Stage;
    readonly deliveries: number;
    readonly reason: string;
  };
  /** A shard came for the second time or more. */
  'delivery.redelivered': { readonly requestId: string; readonly stage: Stage; readonly deliveries: number };
  /** A shard was dropped unworked: nobody waits for it any more. */
  'delivery.dropped': {
    readonly requestId: string;
    readonly stage: Stage;
    /** `unstored`: its results could not be stored in time. */
    readonly why: 'expired' | 'cancelled' | 'answered' | 'hedge_failed' | 'unstored';
  };
  /** A shard was quarantined (promise P5). */
  'delivery.dead': {
    readonly requestId: string;
    readonly stage: Stage;
    readonly deliveries: number;
    readonly reason: string;
  };

  'queue.connection': { readonly state: 'connected' | 'disconnected'; readonly reason: string };
  /** The janitor removed what a killed server had left behind. */
  'queue.swept': {
    readonly stream: string;
    readonly consumer: string;
    readonly orphans: number;
    readonly phantoms: number;
  };
  'queue.drift': { readonly what: string };
  /** The distance of this machine's clock from NATS's became or ceased to be worth telling. */
  'clock.told': {
    readonly how: 'agrees' | 'off' | 'refused' | 'unread' | 'denied';
    readonly words: string;
    /** This machine's clock less NATS's; absent while that is not known. */
    readonly skewMs?: number;
  };
  /** A stream, or consumers of one, were gone and are made anew: what was in them is lost. */
  'queue.lost': { readonly stream: string };
  /** Why a stream cannot be worked with: nothing is accepted meanwhile. */
  'queue.trouble': { readonly what: string };
  /** The ledger was trimmed to make room. */
  'queue.trimmed': { readonly stream: string; readonly messages: number };

  'actor.changed': {
    readonly id: string;
    readonly kind: string;
    readonly name: string;
    readonly from: string;
    readonly to: string;
    readonly reason: string;
  };
  /** An engine is starting. `line` says what it does: the last of a managed server's output, or "download", "load". */
  'engine.loading': {
    readonly engine: string;
    readonly elapsedMs: number;
    readonly line: string;
    /** 0..1 of what `line` names, when that is known. */
    readonly doneRatio?: number;
  };
  /** An engine gets no work any more, for another reason than before, or gets work again. */
  'engine.service': {
    readonly engine: string;
    readonly state: 'out' | 'back';
    readonly cause?: (typeof outageCauses)[number];
    readonly reason?: string;
  };
  'node.drain': { readonly node: string; readonly phase: 'started' | 'finished' | 'resumed'; readonly running: number };

  /** Something unexpected that is not a fault of a caller: for the log. */
  trouble: { readonly where: string; readonly error: unknown; readonly requestId?: string };
}

export type EventName = keyof EventMap;

/** A synchronous typed emitter. A listener that throws is a bug: it is reported as `trouble` and does not stop the emitter. */
export class Events {
  readonly #listeners = new Map<EventName, Set<(event: never) => void>>();

  on<K extends EventName>(name: K, hear: (event: EventMap[K]) => void): () => void {
    const set = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, set);
    set.add(hear);
    return () => void set.delete(hear);
  }

  emit<K extends EventName>(name: K, event: EventMap[K]): void {
    const set = this.#listeners.get(name);
    if (!set) return;
    for (const hear of set) {
      try {
        (hear as (event: EventMap[K]) => void)(event);
      } catch (error) {
        if (name !== 'trouble') this.emit('trouble', { where: `listener of ${name}`, error });
      }
    }
  }
}
