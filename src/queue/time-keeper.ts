// Time keeper: reads the server's clock again and again, for as long as the process works by it.
//
//   TK1. One reading at a time, a few in a row until one is exact: the best of them counts (C2 of server-time.ts).
//   TK2. Again soon after a reading that failed, after a reconnect, and when the system's clock jumped beside the steady one (somebody set it,
//        or this machine slept): then what is known may be wrong. Seldom where NATS does not allow it: each try leaves a line in the log.

import { FaultError } from '../fault.js';
import { limits } from '../limits.js';
import { sleep, type Clock } from '../process/clock.js';
import type { ClockState, Reading, ServerTime } from './server-time.js';

export interface TimeKeeper {
  /** Resolves after the first round of readings, whatever became of it. */
  readonly begun: Promise<void>;
  /** Reads soon: the connection was lost, perhaps to another server. */
  again(): void;
  close(): void;
}

export interface TimeKeeperParts {
  readonly time: ServerTime;
  readonly read: () => Promise<Reading>;
  /** Its timers. */
  readonly clock: Pick<Clock, 'after' | 'steadyNow'>;
  /** Called after every round of readings, and at every look at the system's clock. */
  readonly hear: (state: ClockState) => void;
  /** How often the system's clock is looked at; default a second. */
  readonly lookEveryMs?: number;
}

/** No better reading is hoped for than one of this exactness. */
const exactMs = 5;
const readingsMax = 5;
const retryEveryMs = 1_000;
const retryDeniedEveryMs = 10 * limits.clockReadEveryMs;
/** The system's clock is slewed by less in a second. */
const jumpMs = 50;

export function keepTime({ time, read, clock, hear, lookEveryMs = 1_000 }: TimeKeeperParts): TimeKeeper {
  const closing = new AbortController();
  let wake = new AbortController();
  const isClosed = (): boolean => closing.signal.aborted;

  const round = async (): Promise<boolean> => {
    const ok = await readTime(time, read);
    if (!isClosed()) hear(time.state());
    return ok;
  };
  const rest = async (ok: boolean): Promise<void> => {
    const soonMs = time.state().kind === 'denied' ? retryDeniedEveryMs : retryEveryMs;
    const untilMs = clock.steadyNow() + (ok ? limits.clockReadEveryMs : soonMs);
    const aheadMs = time.systemAheadMs();
    while (clock.steadyNow() < untilMs && !wake.signal.aborted) {
      await sleep(clock, Math.min(lookEveryMs, untilMs - clock.steadyNow()), wake.signal);
      if (isClosed()) return;
      hear(time.state());
      if (Math.abs(time.systemAheadMs() - aheadMs) > jumpMs) return;
    }
    wake = new AbortController();
  };
  const begun = round();
  void (async () => {
    let ok = await begun;
    while (!isClosed()) {
      await rest(ok);
      if (!isClosed()) ok = await round();
    }
  })();
  return {
    begun: begun.then(() => undefined),
    again: () => wake.abort(),
    close() {
      closing.abort();
      wake.abort();
    },
  };
}

/** TK1. Resolves to whether there was a reading. */
export async function readTime(time: ServerTime, read: () => Promise<Reading>): Promise<boolean> {
  for (let readings = 1; ; readings++) {
    try {
      const reading = await read();
      time.take(reading);
      if (reading.errorMs <= exactMs || readings >= readingsMax) return true;
    } catch (error) {
      const denied = error instanceof FaultError && error.fault.kind === 'permission_denied';
      time.failed({ kind: denied ? 'denied' : 'unread', why: error instanceof Error ? error.message : String(error) });
      return false;
    }
  }
}
