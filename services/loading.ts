// Loading: how far an embedded engine is with its model, told as events.

import type { Events } from '../src/observe/events.js';
import { systemClock } from '../src/process/clock.js';

/** For the engine's `onProgress`. */
export function loadingTeller(engine: string, events: Events): (stage: 'download' | 'load', doneRatio: number) => void {
  const startedAtMs = systemClock.now();
  return (stage, doneRatio) =>
    events.emit('engine.loading', { engine, elapsedMs: systemClock.now() - startedAtMs, line: stage, doneRatio });
}
