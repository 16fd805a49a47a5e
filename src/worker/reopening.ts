// Reopening: an engine whose prompt template opens the model's reasoning, so that its texts begin inside of it.
//
// The opening marker is put before each text as it comes from the engine. From then on the text says by itself where its reasoning begins: the parser,
// the store, the trajectories of `grm spct` and a reward read the same, and a text that was cut inside its reasoning holds no scores for any of them.

import type { Engine } from '../engine/engine.js';
import { reopened, type ReasoningMarkers } from '../grm/reasoning.js';

export function reopening<E extends Engine>(engine: E, reasoning: readonly ReasoningMarkers[]): E {
  return {
    ...engine,
    draw: (job, onResult, signal) =>
      engine.draw(
        job,
        (result) => onResult(result.kind === 'text' ? { ...result, text: reopened(result.text, reasoning) } : result),
        signal,
      ),
  };
}
