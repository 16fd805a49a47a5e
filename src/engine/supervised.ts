// Engines as actors want them: with what they run now, and word of their death.

import type { Engine, MetaEngine } from './engine.js';

export interface Supervised {
  /** Samples or texts in it now. */
  running(): number;
  /** Resolves with the reason when it goes down by itself. An engine that is only attached never does: its health checks tell. */
  readonly died: Promise<string>;
}

const never = new Promise<string>(() => undefined);

/** The same engine; `died` when its owner can tell of a death. */
export function superviseEngine(engine: Engine, died: Promise<string> = never): Engine & Supervised {
  let running = 0;
  return {
    name: engine.name,
    description: engine.description,
    model: engine.model,
    fake: engine.fake,
    ...(engine.specialTokens && { specialTokens: engine.specialTokens }),
    ...(engine.traits !== undefined && { traits: engine.traits }),
    died,
    running: () => running,
    async draw(job, onResult, signal) {
      let open = job.samples.length;
      running += open;
      try {
        await engine.draw(
          job,
          (result) => {
            open -= 1;
            running -= 1;
            onResult(result);
          },
          signal,
        );
      } finally {
        running -= open;
      }
    },
    outOfService: () => engine.outOfService?.(),
    health: (signal) => engine.health(signal),
    gauges: () => engine.gauges(),
    close: () => engine.close(),
  };
}

export function superviseMetaEngine(engine: MetaEngine, died: Promise<string> = never): MetaEngine & Supervised {
  let running = 0;
  return {
    name: engine.name,
    description: engine.description,
    model: engine.model,
    fake: engine.fake,
    ...(engine.specialTokens && { specialTokens: engine.specialTokens }),
    ...(engine.traits !== undefined && { traits: engine.traits }),
    died,
    running: () => running,
    async rank(job, signal) {
      running += 1;
      try {
        return await engine.rank(job, signal);
      } finally {
        running -= 1;
      }
    },
    selfTest: (signal) => engine.selfTest(signal),
    outOfService: () => engine.outOfService?.(),
    health: (signal) => engine.health(signal),
    gauges: () => engine.gauges(),
    close: () => engine.close(),
  };
}
