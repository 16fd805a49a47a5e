// A coordinator and a cluster that do what a test says: the doors' peer. It keeps the interface's promises: `score` never rejects, a caller
// that goes away gets `cancelled`, `onSample` is called once per index before the verdict, and an equal request is the same request.

import { fault, type Fault } from '../../src/fault.js';
import type {
  Caller,
  Coordinator,
  CoordinatorLoad,
  JudgeNow,
  ScoreInput,
  ScoreOutcome,
} from '../../src/coordinator/coordinator.js';
import { identify } from '../../src/coordinator/identity.js';
import type { JudgedSample, StoredVerdict, Verdict } from '../../src/grm/verdict.js';
import { vote } from '../../src/grm/vote.js';
import type { ClusterControl, ClusterStatus } from '../../src/rpc/cluster.js';
import type { DeadLetter, DeadPage } from '../../src/work/shard.js';
import { aJudge, plan, planDefaults, scored, voteInput } from './judgement.js';

export interface HeldCall {
  readonly input: ScoreInput;
  readonly caller: Caller;
  readonly requestId: string;
  sample(judged: JudgedSample): void;
  verdict(verdict?: Verdict): void;
  fault(it: Fault): void;
}

/** The score that the scripted judge gives a text: its length says which. */
export function scoreOf(text: string): number {
  return 1 + (text.length % 10);
}

const under = { judge: aJudge.id, defaults: planDefaults };

export function verdictFor(input: ScoreInput, texts = ''): Verdict {
  const scores = input.content.responses.map(scoreOf);
  const k = input.options.k ?? 1;
  const samples = Array.from({ length: k }, (_, index) => scored(index, scores, { text: texts }));
  return vote(voteInput({ requestId: identify(input, under).requestId, plan: plan({ k }), n: scores.length, samples }));
}

export class ScriptedCoordinator implements Coordinator {
  readonly templates = ['default', 'paper'];
  /** Answers a call at once; undefined holds it until the test answers. Default: at once, with verdictFor. */
  script: (input: ScoreInput, call: HeldCall) => ScoreOutcome | undefined = (input) => ({
    kind: 'verdict',
    verdict: verdictFor(input),
  });
  /** Every call so far, answered or not. */
  readonly calls: HeldCall[] = [];
  readonly finished = new Map<string, StoredVerdict>();
  readonly cancelled: string[] = [];
  readonly retried: string[] = [];
  /** Calls whose caller went away before the answer. */
  gone = 0;
  open = 0;
  openMax = 0;

  score(input: ScoreInput, caller: Caller): Promise<ScoreOutcome> {
    this.open++;
    this.openMax = Math.max(this.openMax, this.open);
    return new Promise((resolve) => {
      let answered = false;
      const answer = (outcome: ScoreOutcome) => {
        if (answered) return;
        answered = true;
        this.open--;
        caller.signal.removeEventListener('abort', leave);
        if (outcome.kind === 'verdict') {
          this.finished.set(call.requestId, { verdict: outcome.verdict, content: input.content });
        }
        resolve(outcome);
      };
      const leave = () => {
        this.gone++;
        answer({ kind: 'fault', fault: fault('cancelled', 'the last caller went away') });
      };
      const call: HeldCall = {
        input,
        caller,
        requestId: identify(input, under).requestId,
        sample: (judged) => caller.onSample?.(judged),
        verdict: (verdict) => answer({ kind: 'verdict', verdict: verdict ?? verdictFor(input) }),
        fault: (it) => answer({ kind: 'fault', fault: it }),
      };
      this.calls.push(call);
      caller.signal.addEventListener('abort', leave, { once: true });
      if (caller.signal.aborted) return leave();
      const outcome = this.script(input, call);
      if (outcome) answer(outcome);
    });
  }

  /** Lets every further call wait for the test. */
  hold(): void {
    this.script = () => undefined;
  }

  judge(): JudgeNow {
    return { kind: 'judge', judge: aJudge };
  }

  stored(requestIdOrKey: string, tenant: string): Promise<StoredVerdict | undefined> {
    const byKey = this.calls.find(
      (call) => call.input.idempotencyKey === requestIdOrKey && call.input.tenant === tenant,
    );
    return Promise.resolve(this.finished.get(byKey?.requestId ?? requestIdOrKey));
  }

  cancel(requestId: string): Promise<boolean> {
    this.cancelled.push(requestId);
    return Promise.resolve(this.calls.some((call) => call.requestId === requestId));
  }

  retryDead(ids: readonly string[]): ReturnType<Coordinator['retryDead']> {
    this.retried.push(...ids);
    const known = ids.filter((id) => id.startsWith('r1.'));
    const refused = ids.filter((id) => !known.includes(id)).map((id): [string, string] => [id, 'no such shard']);
    const requestIds = known.map((id) => id.split('.')[0]!);
    return Promise.resolve({
      requestIds,
      shards: known.length,
      refused: new Map(refused),
      refusedCount: refused.length,
    });
  }

  load(): CoordinatorLoad {
    return { requestsInFlight: this.open, samplesInFlight: 0, bytesInFlight: 0, waiting: 0 };
  }

  drain(): Promise<void> {
    return Promise.resolve();
  }
}

export class ScriptedCluster implements ClusterControl {
  readonly orders: string[] = [];
  dead: DeadLetter[] = [];
  /** What every order fails with, if anything. */
  failure: Error | undefined;

  constructor(public now: ClusterStatus) {}

  status(): Promise<ClusterStatus> {
    return this.#done(this.now);
  }

  drain(nodes: readonly string[]): Promise<readonly string[]> {
    this.orders.push(`drain ${nodes.join(' ')}`);
    return this.#done(nodes.length === 0 ? this.now.nodes.map((node) => node.id) : nodes);
  }

  resume(nodes: readonly string[]): Promise<readonly string[]> {
    this.orders.push(`resume ${nodes.join(' ')}`);
    return this.#done(nodes);
  }

  setSlots(node: string, slots: number): ReturnType<ClusterControl['setSlots']> {
    if (!this.now.nodes.some((each) => each.id === node)) {
      return this.#done({ kind: 'fault', fault: fault('not_found', `no node ${node}`) });
    }
    this.orders.push(`slots ${node} ${slots}`);
    return this.#done({ kind: 'ok', value: slots });
  }

  listDead(limit: number, before = 0): Promise<DeadPage> {
    const letters = this.dead.slice(before, before + limit);
    const next = before + letters.length;
    return this.#done({ letters, ...(next < this.dead.length && { next }) });
  }

  #done<T>(value: T): Promise<T> {
    return this.failure ? Promise.reject(this.failure) : Promise.resolve(value);
  }
}
