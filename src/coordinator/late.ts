// Late: the shards of one request that were sent and are not back, and the second tries of those that are late (hedging.ts).
//
//   T1. A shard is asked for once more under a name of its own (work/run-name.ts). Whichever is first is kept, by the ledger; when all that was
//       asked for twice is there, both are ended. A hedge adds a result or nothing: it may fail, and the queue may be full.
//   T2. A shard is asked for again only when a worker says that it is at it, and that nobody had it before. One for which nobody answers may
//       have killed whoever had it, and would kill another worker, a try that nothing counts (promise P5). It goes on with its next delivery.
//   T3. Late counts from when the shard was sent, and again from when its worker was asked for in vain.

import type { Shard } from '../work/shard.js';
import { hedgeName } from '../work/run-name.js';
import type { CoordinatorContext } from './context.js';
import { freeSlots } from './waves.js';

interface Out {
  readonly shard: Shard;
  readonly sentAtMs: number;
  /** T3. */
  lateFromMs: number;
  hedged: boolean;
}

export interface LateParts {
  readonly requestId: string;
  readonly context: CoordinatorContext;
  /** Whether a sample is there. */
  readonly has: (index: number) => boolean;
  /** Puts a second try into the queue; its number in the request is the caller's to give. */
  readonly put: (shard: Shard) => void;
  readonly fail: (error: unknown) => void;
}

export class LateShards {
  readonly #out = new Set<Out>();

  constructor(private readonly parts: LateParts) {}

  sent(shard: Shard): void {
    const { clock, hedging } = this.parts.context;
    const sentAtMs = clock.steadyNow();
    this.#out.add({ shard, sentAtMs, lateFromMs: sentAtMs, hedged: false });
    hedging.asked(shard.samples.length);
  }

  /** Samples that are there for the first time. */
  came(indexes: readonly number[]): void {
    const { context, has, requestId } = this.parts;
    const those = new Set(indexes);
    const nowMs = context.clock.steadyNow();
    for (const each of this.#out) {
      const specs = each.shard.samples;
      const back = specs.filter(({ index }) => those.has(index)).length;
      for (let i = 0; i < back; i++) context.hedging.came(nowMs - each.sentAtMs);
      if (back === 0 || specs.some(({ index }) => !has(index))) continue;
      this.#out.delete(each);
      if (each.hedged) context.members.cancel(requestId, each.shard.run);
    }
  }

  /** Asks for the workers of what is late, as far as there is room for second tries. */
  look(): void {
    const { requestId, context, fail } = this.parts;
    const { hedging, members, clock } = context;
    const lateMs = hedging.lateMs();
    // A worker that is at a shard draws no hedge of it.
    if (lateMs === undefined || members.fleet().engines < 2) return;
    const nowMs = clock.steadyNow();
    for (const each of this.#out) {
      if (each.hedged || nowMs - each.lateFromMs <= lateMs) continue;
      const { length } = this.#missing(each);
      if (length > freeSlots(context) || !hedging.allows(length)) return;
      each.lateFromMs = nowMs;
      members.isAt(requestId, each.shard.run).then((here) => {
        if (here) this.#again(each);
      }, fail);
    }
  }

  /** Nothing that was sent is waited for any more. */
  clear(): void {
    this.#out.clear();
  }

  #again(each: Out): void {
    const { requestId, context, put } = this.parts;
    const samples = this.#missing(each);
    // Much may have happened since its worker was asked for.
    if (each.hedged || !this.#out.has(each) || !context.hedging.take(samples.length)) return;
    each.hedged = true;
    context.events.emit('shard.hedged', { requestId, samples: samples.length });
    put({ ...each.shard, samples, run: hedgeName(each.shard.run), queuedAtMs: context.clock.now() });
  }

  #missing({ shard }: Out): Shard['samples'] {
    return shard.samples.filter(({ index }) => !this.parts.has(index));
  }
}
