// Clock of a host: the time of NATS, which every instant that leaves the process is told in, and what there is to say of the distance.

import { limits } from '../src/limits.js';
import type { Events } from '../src/observe/events.js';
import { sleep, systemClock, type Clock } from '../src/process/clock.js';
import type { QueueSystem } from '../src/queue/queue.js';
import { clockRefusal, skewText, type ClockState } from '../src/queue/server-time.js';

export interface HostClock {
  readonly time: Clock;
  /** This machine's clock less NATS's; undefined while that is not known. */
  skewMs(): number | undefined;
  /** Why this process takes no work with such a clock; undefined when it may. */
  refusal(): string | undefined;
  /** Called whenever `refusal` begins or ends. */
  onRefusal(hear: () => void): void;
  close(): void;
}

/** Resolves after the first reading, or when none came in time: then the process takes no work until there is one. */
export async function openHostClock(queue: QueueSystem, events: Events, skewMsMax: number): Promise<HostClock> {
  const hearers: (() => void)[] = [];
  let told: string | undefined = 'agrees';
  let refusal: string | undefined;
  const hear = (state: ClockState): void => {
    const before = refusal;
    refusal = clockRefusal(state, skewMsMax);
    const how = howIsIt(state, refusal);
    if (how !== told) {
      told = how;
      const skew = state.kind === 'read' && { skewMs: state.skewMs };
      events.emit('clock.told', { how, words: refusal ?? wordsOf(state), ...skew });
    }
    if ((before === undefined) !== (refusal === undefined)) for (const each of hearers) each();
  };
  refusal = clockRefusal(queue.time.state(), skewMsMax);
  const keeper = queue.keepTime(hear);
  const late = new AbortController();
  await Promise.race([keeper.begun, sleep(systemClock, limits.clockFirstReadMs, late.signal)]);
  late.abort();
  return {
    time: queue.time,
    skewMs() {
      const state = queue.time.state();
      return state.kind === 'read' ? state.skewMs : undefined;
    },
    refusal: () => refusal,
    onRefusal: (each) => void hearers.push(each),
    close: () => keeper.close(),
  };
}

/** What a node's lease says of it. */
export function standingOf(clock: Pick<HostClock, 'skewMs' | 'refusal'>) {
  const skewMs = clock.skewMs();
  return { refuses: clock.refusal() ?? '', ...(skewMs !== undefined && { clockSkewMs: skewMs }) };
}

function howIsIt(state: ClockState, refusal: string | undefined) {
  if (state.kind !== 'read') return state.kind;
  if (refusal !== undefined) return 'refused';
  return Math.abs(state.skewMs) > limits.clockSkewToldMs ? 'off' : 'agrees';
}

function wordsOf(state: ClockState): string {
  if (state.kind === 'read') return `this machine's is ${skewText(state.skewMs)} NATS's`;
  return `NATS's cannot be read (${state.why}): this machine's own must be right`;
}
