// From an engine's result to a sample: parsed at once, with where it came from.

import type { DrawResult, Engine } from '../engine/engine.js';
import { makeFailedSample, makeSample } from '../grm/make-sample.js';
import type { ReasoningMarkers } from '../grm/reasoning.js';
import type { Provenance, Sample } from '../grm/sample.js';
import { limits } from '../limits.js';
import type { SampleSpec, Shard } from '../work/shard.js';

export interface DrawnFrom {
  readonly shard: Shard;
  readonly worker: string;
  readonly engine: Engine;
  readonly queueMs: number;
  /** Markers of reasoning; absent: those that are common. */
  readonly reasoning?: readonly ReasoningMarkers[] | undefined;
}

type Finished = Extract<DrawResult, { kind: 'text' | 'terminal' }>;

/** Never throws: what cannot be read is an invalid sample with its reason (promise P7). */
export function sampleOf(result: Finished, from: DrawnFrom): Sample {
  const { shard, worker, engine } = from;
  const origin = {
    ...specOf(shard, result.index),
    worker,
    engine: engine.name,
    model: engine.model,
    ...(engine.judgeId !== undefined && { judge: engine.judgeId }),
    templateHash: shard.templateHash,
    queueMs: Math.max(0, from.queueMs),
  };
  if (result.kind === 'terminal') {
    const reason = result.why === 'context_exceeded' ? 'context_exceeded' : 'engine_failed';
    return makeFailedSample(result.index, reason, result.reason, { ...origin, ...nothingDrawn });
  }
  const text = clip(result.text);
  const { usage, engineMs } = result;
  const finishReason = text.length < result.text.length ? 'length' : result.finishReason;
  return makeSample(result.index, text, { ...origin, usage, engineMs, finishReason }, from.reasoning);
}

/** Stands in for a sample that nobody could draw. */
export function deadSample(shard: Shard, index: number, detail: string, worker: string, queueMs: number): Sample {
  const provenance: Provenance = {
    ...specOf(shard, index),
    worker,
    engine: '',
    model: '',
    templateHash: shard.templateHash,
    queueMs: Math.max(0, queueMs),
    ...nothingDrawn,
  };
  return makeFailedSample(index, 'dead_letter', detail, provenance);
}

function specOf({ samples }: Shard, index: number): Pick<SampleSpec, 'permutation' | 'seed'> {
  const { permutation, seed } = samples.find((each) => each.index === index)!;
  return { permutation, seed };
}

const nothingDrawn = {
  usage: { promptTokens: 0, cachedTokens: 0, completionTokens: 0 },
  finishReason: '',
  engineMs: 0,
};

/** At most limits.sampleTextBytesMax in UTF-8 (three bytes per UTF-16 unit at worst), well-formed. */
function clip(text: string): string {
  const unitsMax = Math.floor(limits.sampleTextBytesMax / 3);
  return (text.length <= unitsMax ? text : text.slice(0, unitsMax)).toWellFormed();
}
