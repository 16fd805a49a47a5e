// Callers of a simulation: they stand outside the cluster, ask one of its coordinators, and do about a failure what their manner is.

import type { Caller, ScoreInput, ScoreOutcome } from '../../src/coordinator/coordinator.js';
import { faults } from '../../src/fault.js';
import { sleep, type Clock } from '../../src/process/clock.js';
import { encodeSample, encodeVerdict } from '../../src/queue/codec.js';
import type { Verdict } from '../../src/grm/verdict.js';
import type { Chance } from './chance.js';
import type { History, Outcome } from './history.js';
import type { CallerPlan } from './scenario.js';

/** One coordinator as a caller reaches it. */
export interface Door {
  readonly id: string;
  score(input: ScoreInput, caller: Pick<Caller, 'signal' | 'onSample'>, deadlineMs: number): Promise<ScoreOutcome>;
  /** Resolves when the connection to it breaks. */
  readonly broken: Promise<void>;
}

export interface CallersWorld {
  readonly clock: Clock;
  readonly chance: Chance;
  readonly history: History;
  /** A coordinator that takes connections; undefined when there is none. */
  readonly door: () => Door | undefined;
  /** The way back breaks. */
  readonly replyLost: () => boolean;
}

export const valueOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

export async function call(
  name: string,
  request: string,
  input: ScoreInput,
  plan: CallerPlan,
  world: CallersWorld,
): Promise<void> {
  const { clock, history } = world;
  const own = plan.own ? { ...input, options: { ...input.options, ...plan.own } } : input;
  const done = (how: 'content' | 'left' | 'lost' | 'tired'): void =>
    history.add({ kind: 'done', request, caller: name, how });
  await sleep(clock, plan.atMs);
  let patient = plan.manner === 'steady' || plan.manner === 'lost';
  for (let calls = 1; ; calls++) {
    const door = world.door();
    if (!door) {
      await sleep(clock, 250);
      continue;
    }
    const ended = await ask(name, request, calls, own, door, patient ? undefined : plan, world);
    if (ended === 'left') {
      if (plan.manner === 'leaves') return done('left');
      patient = true;
      await sleep(clock, plan.pauseMs);
      continue;
    }
    if (ended !== 'broken' && ended.kind === 'verdict') return done('content');
    if (plan.manner === 'lost') return done('lost');
    if (ended !== 'broken' && faults[ended.fault.kind].disposition === 'terminal') return done('tired');
    const waitMs = ended === 'broken' ? 100 : (ended.fault.retryAfterMs ?? 200);
    await sleep(clock, waitMs + world.chance.whole(0, 300));
  }
}

/** One call. With a plan it may leave, or have a deadline. */
async function ask(
  name: string,
  request: string,
  calls: number,
  input: ScoreInput,
  door: Door,
  plan: CallerPlan | undefined,
  world: CallersWorld,
): Promise<ScoreOutcome | 'broken' | 'left'> {
  const { clock, history } = world;
  history.add({ kind: 'asked', request, caller: name, node: door.id });
  const gone = new AbortController();
  const hasty = plan?.manner === 'hasty';
  let open = true;
  const onSample: Caller['onSample'] = ({ sample }) => {
    if (!open) return;
    const value = valueOf(encodeSample(sample));
    history.add({ kind: 'watched', request, caller: name, call: calls, index: sample.index, value });
  };
  const ended = await new Promise<ScoreOutcome | 'broken' | 'left'>((resolve) => {
    // A deadline is the coordinator's to keep; the caller waits a little longer, in case it stands still.
    if (plan) clock.after(plan.patienceMs + (hasty ? 500 : 0), () => resolve(hasty ? 'broken' : 'left'));
    void door.broken.then(() => resolve('broken'));
    void door.score(input, { signal: gone.signal, onSample }, plan && hasty ? plan.patienceMs : Infinity).then(resolve);
  });
  open = false;
  if (ended === 'left') {
    gone.abort();
    return ended;
  }
  if (ended === 'broken' || world.replyLost()) {
    gone.abort();
    history.add({ kind: 'network', what: `${name}: the connection to ${door.id} breaks` });
    return 'broken';
  }
  history.add({ kind: 'answered', request, caller: name, outcome: outcomeOf(ended) });
  return ended;
}

function outcomeOf(outcome: ScoreOutcome): Outcome {
  if (outcome.kind === 'fault') return { kind: 'fault', fault: outcome.fault.kind, message: outcome.fault.message };
  const { verdict } = outcome;
  return { kind: 'verdict', value: valueOf(encodeVerdict(verdict)), summary: summaryOf(verdict) };
}

export function summaryOf(verdict: Verdict): string {
  const degraded = verdict.degraded.length === 0 ? '' : ` (${verdict.degraded.join(', ')})`;
  const result =
    verdict.kind === 'valid' ? `valid, ranking ${verdict.ranking.join(' ')}` : `invalid, ${verdict.reason}`;
  return `${result}, ${verdict.kValid}/${verdict.k} samples${degraded}`;
}
