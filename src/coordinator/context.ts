// What the coordinator works with: interfaces and values, wired together in services/coordinator.

import type { JudgeModel } from '../grm/judge.js';
import type { Class } from '../grm/query.js';
import type { WaveSizes } from '../grm/stop.js';
import type { Events } from '../observe/events.js';
import type { Clock } from '../process/clock.js';
import type { Ledger, Storage, WorkQueue } from '../queue/queue.js';
import type { PlanDefaults } from '../work/plan.js';
import type { Admission } from './admission.js';
import type { Dispatcher } from './dispatch.js';
import type { Failpoint } from './failpoints.js';
import type { Hedging } from './hedging.js';
import type { Room } from './room.js';

/** What the coordinator wants to know of the cluster's members. */
export interface Members {
  /** 'unknown' while membership cannot be read: then nothing is taken over. */
  alive(nodeId: string): boolean | 'unknown';
  /** Coordinators alive now, this one included. */
  coordinators(): readonly string[];
  /** Meta workers that serve now; 'unknown' while membership cannot be read. */
  metaServing(): number | 'unknown';
  /**
   * A meta worker serves, is about to (its engine loads, or is started again), or did serve a moment ago (metaPatienceMs): a start or a
   * restart must not change the vote of the requests that come meanwhile without a word.
   */
  metaExpected(): boolean;
  /** The models of the GRM pool and of the meta pool, as they are or last were (actor/pool-judges.ts); empty where that was never known. */
  judges(): { readonly models: readonly JudgeModel[]; readonly meta: readonly JudgeModel[] };
  /** Engines that draw samples now, the samples that they take at once, and the share of these slots in use (0..1, or more). */
  fleet(): { readonly engines: number; readonly slots: number; readonly busyRatio: number };
  /** Why no engine of the pool serves, as their states say; undefined while one does, or when nothing is known. */
  outage(): string | undefined;
  /** Tells the coordinator that runs this request that somebody waits for it here, for so long still. */
  want(requestId: string, forMs: number): void;
  /** Whether a worker lives that is at this very task of a request, and was the first to have it. A question to all: it may take limits.askMs. */
  isAt(requestId: string, task: string): Promise<boolean>;
  /** Tells every worker to drop what it does for one run of this request. */
  cancel(requestId: string, run: string): void;
}

export interface CoordinatorSettings {
  readonly nodeId: string;
  readonly pool: string;
  readonly metaPool: string;
  readonly defaults: PlanDefaults;
  readonly defaultClass: Class;
  readonly shardSamplesMax: number;
  /** How far ahead of its rule a request with adaptive k asks for samples. */
  readonly waves: WaveSizes;
  /** A request whose last caller left runs on for so long, so that a caller's retry can join it. */
  readonly lingerMs: number;
  /** How long the meta RM may be away before a request that waits for it alone is voted on without. */
  readonly metaPatienceMs: number;
  /** After so long without news a request reads the ledger, in case a notice was lost. */
  readonly silenceMs: number;
  /** How often unfinished requests of dead coordinators are looked for when no membership change calls for it. */
  readonly takeoverEveryMs: number;
}

export interface CoordinatorContext {
  readonly settings: CoordinatorSettings;
  readonly ledger: Ledger;
  readonly work: WorkQueue;
  readonly members: Members;
  readonly storage: Storage;
  readonly admission: Admission;
  readonly room: Room;
  readonly dispatcher: Dispatcher;
  readonly hedging: Hedging;
  readonly events: Events;
  readonly clock: Clock;
  /** A loaded template by name (undefined: the default one); undefined when there is no such name. */
  readonly template: (name: string | undefined) => { readonly title: string; readonly hash: string } | undefined;
  /** Names of the loaded templates, for messages. */
  readonly templateNames: readonly string[];
  /** Told of every failpoint that a request passes. Absent outside tests. */
  readonly passes?: (point: Failpoint) => void;
}
