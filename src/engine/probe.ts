// Probe: a tiny request that tells whether an engine works, made as real work is: same way, same key, same settings.

import { limits } from '../limits.js';
import { steadyNow } from '../process/clock.js';
import { outageOf, type ProbeFinding } from './attribution.js';
import type { DrawJob, DrawResult, Engine, Health, PromptMessage, RankResult } from './engine.js';

/** A job like this one, with nothing of what it asks: one token of a tiny text, in the job's own roles and with its settings. */
export function makeOf(job: DrawJob): DrawJob {
  return {
    ...job,
    messages: job.messages.map(({ role }) => ({ role, content: 'Say OK.' })),
    samples: [{ index: 0, seed: 1 }],
    maxTokens: 1,
    requestId: 'probe',
  };
}

/** @param make see makeOf */
export async function probeEngine(engine: Engine, make: DrawJob, signal: AbortSignal): Promise<ProbeFinding> {
  const job = { ...make, deadlineAtMs: steadyNow() + limits.breakerProbeMs };
  const result = await (engine.probe?.(job, signal) ?? drawOne(engine, job, 0, signal));
  return findingOf(result, engine.probe !== undefined);
}

/** One of the job's samples. */
export async function drawOne(engine: Engine, job: DrawJob, index: number, signal: AbortSignal): Promise<DrawResult> {
  let drawn: DrawResult = { kind: 'cancelled', index };
  const samples = job.samples.filter((sample) => sample.index === index);
  await engine.draw({ ...job, samples }, (result) => (drawn = result), signal);
  return drawn;
}

/** @param beside the probe waited for no slot: then no answer in time is a failure */
export function findingOf(result: DrawResult | RankResult, beside: boolean): ProbeFinding {
  switch (result.kind) {
    // Also when the tiny text does not fit: then it was read.
    case 'text':
    case 'logit':
    case 'terminal':
      return { kind: 'passed' };
    case 'cancelled':
      return { kind: 'unknown' };
    case 'retryable': {
      const outage = outageOf(result);
      if (outage) return { kind: 'failing', outage };
      if (!beside) return { kind: 'unknown' };
      const reason = `a probe had no answer within ${limits.breakerProbeMs} ms`;
      return { kind: 'failing', outage: { cause: 'failing', reason } };
    }
  }
}

/** Whether an engine draws, for somebody who has no work for it. */
export async function tryEngine(
  engine: Engine,
  settings: { readonly roles: readonly PromptMessage['role'][]; readonly temperature: number; readonly topP: number },
  signal: AbortSignal,
): Promise<Health> {
  const { roles, temperature, topP } = settings;
  const make = makeOf({
    messages: roles.map((role) => ({ role, content: '' })),
    samples: [],
    temperature,
    topP,
    maxTokens: 1,
    deadlineAtMs: 0,
    priority: 0,
    requestId: '',
  });
  const found = await probeEngine(engine, make, signal);
  if (found.kind === 'passed') return { kind: 'ok' };
  return { kind: 'failing', reason: found.kind === 'failing' ? found.outage.reason : 'a generation was called off' };
}
