// Direct: an engine driven without a cluster, with the prompts and in the order in which a cluster would draw.

import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { openOpenAiEngine } from '../src/engine/openai.js';
import type { PromptMessage } from '../src/grm/prompt.js';
import { requestOf } from './payload.js';
import { promptsOf } from './prompts.js';

const callMs = 60_000;

/** Keeps `concurrency` samples open, the first ones spread over `rampMs`, until it is disposed of: then they are dropped. */
export async function driveDirectly(
  url: string,
  concurrency: number,
  k: number,
  rampMs: number,
): Promise<AsyncDisposable> {
  const engine = await openOpenAiEngine({
    name: 'direct',
    baseUrl: url,
    mode: 'chat',
    slots: concurrency,
    requestTimeoutMs: callMs,
  });
  const stop = new AbortController();
  // One for each open call.
  setMaxListeners(0, stop.signal);
  let serial = 0;
  // The samples of a request, those of one prompt beside each other: the first one's is evaluated, the others find it in the engine's cache.
  let open: PromptMessage[][] = [];
  const next = (): PromptMessage[] => {
    if (open.length === 0) {
      const nonce = (serial >>> 0).toString(16).padStart(8, '0');
      open = promptsOf(requestOf({}), k, nonce).flatMap(({ messages, samples }) =>
        Array.from({ length: samples }, () => [...messages]),
      );
    }
    return open.pop()!;
  };
  const one = async (at: number): Promise<void> => {
    await sleep((at * rampMs) / concurrency);
    while (!stop.signal.aborted) {
      const job = {
        messages: next(),
        samples: [{ index: 0, seed: serial++ }],
        temperature: 0.5,
        topP: 1,
        maxTokens: 1_024,
        deadlineAtMs: Date.now() + callMs,
        priority: 0,
        requestId: 'bench',
      };
      await engine.draw(job, () => undefined, stop.signal);
    }
  };
  const running = Promise.all(Array.from({ length: concurrency }, (_, at) => one(at)));
  running.catch(() => undefined);
  return {
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
      await engine.close();
    },
  };
}
