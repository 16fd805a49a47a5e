// Ranking: sends the valid samples of one run to the meta RM.
//
//   R1. Samples that come in one turn of the event loop travel together.
//   R2. A full meta queue loses no sample: they are sent again at the next tick, and the vote goes on with the meta rewards there are.
//   R3. A task goes out with the end that holds then; what it has not brought by that end is sent again when there is more time (collect.ts, C6).

import type { ScoredSample } from '../grm/sample.js';
import { planMetaTasks } from '../work/plan.js';
import type { RequestRecord } from '../work/shard.js';
import type { CoordinatorContext } from './context.js';

export interface RankingParts {
  readonly record: RequestRecord;
  readonly context: CoordinatorContext;
  /** Name of the run. */
  readonly run: string;
  /** Whether the content travels in the task (it is small). */
  readonly inline: boolean;
  /** Whether a sample still wants a meta reward. */
  readonly wants: (index: number) => boolean;
  readonly endsAtMs: () => number;
  /** Name under which tasks are published now. */
  readonly epoch: () => string;
  readonly fail: (error: unknown) => void;
}

export class Ranking {
  #together: ScoredSample[] = [];
  readonly #again: ScoredSample[] = [];
  #onTheWay = 0;
  #endsAtMs = Infinity;

  constructor(private readonly parts: RankingParts) {}

  /** Publishes that are under way. */
  get onTheWay(): number {
    return this.#onTheWay;
  }

  send(sample: ScoredSample): void {
    this.#together.push(sample);
    if (this.#together.length === 1) queueMicrotask(() => this.#publish());
  }

  /** R2. */
  tick(): void {
    for (const sample of this.#again.splice(0)) this.send(sample);
  }

  /** R3: whether the first end of its tasks has come. */
  isOver(nowMs: number): boolean {
    return this.#endsAtMs <= nowMs;
  }

  /** R3: from here on only the ends of tasks that go out later count. */
  beginAnew(): void {
    this.#endsAtMs = Infinity;
  }

  #publish(): void {
    const { record, context, run, inline, wants, endsAtMs, epoch, fail } = this.parts;
    const samples = this.#together.filter(({ index }) => wants(index));
    this.#together = [];
    if (samples.length === 0) return;
    const deadlineAtMs = endsAtMs();
    this.#endsAtMs = Math.min(this.#endsAtMs, deadlineAtMs);
    const tasks = planMetaTasks(record, samples, { inline, run, deadlineAtMs, nowMs: context.clock.now() });
    this.#onTheWay++;
    context.work.putMetaTasks(context.settings.metaPool, epoch(), tasks).then((put) => {
      this.#onTheWay--;
      context.passes?.('ranking');
      if (put.kind !== 'full') return;
      this.#again.push(...samples);
      const { requestId } = record;
      context.events.emit('trouble', { where: 'meta queue', error: new Error('the meta queue is full'), requestId });
    }, fail);
  }
}
