// Waiting: how the engines of an embedded cluster come up, from what its services tell.

import type { Notice, Waiting, WaitingEngine } from './notice.js';
import { Pace } from './pace.js';
import type { EngineNews } from './service.js';

export interface Wanted {
  readonly workers: number;
  readonly metaWorkers: number;
}

/** Ratios become whole numbers for the pace. */
const whole = 1_000;

interface Known {
  readonly news: EngineNews;
  readonly pace: Pace | undefined;
}

export class EngineWatch {
  readonly #engines = new Map<string, Known>();
  readonly #toldReason = new Map<string, string>();
  #serving: Wanted = { workers: 0, metaWorkers: 0 };

  constructor(
    private readonly wanted: Wanted,
    private readonly now: () => number,
    private readonly tell: (notice: Notice) => void,
  ) {}

  /** What the coordinator sees. */
  hearServing(serving: Wanted): void {
    this.#serving = serving;
  }

  /** What a service tells of its engines: failures are passed on, each reason once. */
  hearEngines(service: string, engines: readonly EngineNews[]): void {
    for (const news of engines) {
      const id = `${service}/${news.name}`;
      const before = this.#engines.get(id);
      this.#engines.set(id, { news, pace: this.#paceOf(before, news) });
      this.#tellChange(id, before?.news, news);
    }
  }

  /** A service that ended has no engines; its next life tells of new ones. */
  forget(service: string): void {
    for (const id of this.#engines.keys()) if (id.startsWith(`${service}/`)) this.#engines.delete(id);
  }

  /** Why it will never be complete: a service of which every engine was given up. */
  hopeless(): string | undefined {
    const services = new Set([...this.#engines.keys()].map(serviceOf));
    for (const service of services) {
      const all = [...this.#engines].filter(([id]) => serviceOf(id) === service);
      const dead = all.filter(([, { news }]) => news.state === 'dead');
      if (dead.length === all.length) return dead.map(([id, { news }]) => `${id}: ${news.reason}`).join('; ');
    }
    return undefined;
  }

  complete(): boolean {
    return this.#serving.workers >= this.wanted.workers && this.#serving.metaWorkers >= this.wanted.metaWorkers;
  }

  waiting(elapsedMs: number, processes: Waiting['processes']): Waiting {
    return {
      event: 'waiting',
      workers: this.#serving.workers,
      workers_wanted: this.wanted.workers,
      meta_workers: this.#serving.metaWorkers,
      meta_workers_wanted: this.wanted.metaWorkers,
      elapsed_seconds: Math.floor(elapsedMs / 1_000),
      processes,
      engines: [...this.#engines]
        .filter(([, { news }]) => news.state !== 'alive')
        .map(([id, known]) => this.#line(id, known)),
    };
  }

  #line(engine: string, { news, pace }: Known): WaitingEngine {
    const ratio = news.loading?.doneRatio;
    return {
      engine,
      state: news.state,
      restarts: news.restarts,
      doing: news.state === 'starting' ? (news.loading?.line ?? '') : news.reason,
      done_ratio: ratio ?? null,
      eta_seconds: pace?.etaSeconds(whole, this.now()) ?? null,
    };
  }

  /** A stage (download, load) has a pace of its own. */
  #paceOf(before: Known | undefined, { loading }: EngineNews): Pace | undefined {
    if (loading?.doneRatio === undefined) return undefined;
    const done = Math.round(loading.doneRatio * whole);
    if (!before?.pace || before.news.loading?.line !== loading.line) return new Pace(done, this.now());
    before.pace.note(done, this.now());
    return before.pace;
  }

  #tellChange(engine: string, before: EngineNews | undefined, { state, reason, restarts }: EngineNews): void {
    if (state === 'restarting' || state === 'dead' || state === 'out_of_service') {
      if (this.#toldReason.get(engine) === `${state} ${reason}`) return;
      this.#toldReason.set(engine, `${state} ${reason}`);
      this.tell({ event: 'engine_failed', engine, state, reason, restarts });
    } else if (state === 'alive' && before?.state !== 'alive') {
      if (this.#toldReason.delete(engine)) this.tell({ event: 'engine_serves', engine, restarts });
    }
  }
}

function serviceOf(id: string): string {
  return id.slice(0, id.indexOf('/'));
}
