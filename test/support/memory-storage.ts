// The streams of the queue model as an owner sees them: it counts messages, and each of them weighs as much as a sample.

import { limits } from '../../src/limits.js';
import type { Look, Storage, StoreState } from '../../src/queue/queue.js';
import type { MemoryStream } from './memory-stream.js';
import type { Wire } from './memory-wire.js';

export function storageOf(wire: Wire): Storage {
  const { server } = wire;
  const hearers = new Set<(look: Look) => void>();
  const row = (
    stream: string,
    { messages, messagesMax, isRefusing }: ReturnType<MemoryStream['fill']>,
  ): StoreState => ({
    stream,
    bytes: messages * limits.sampleBytesGuess,
    bytesMax: Number.isFinite(messagesMax) ? messagesMax * limits.sampleBytesGuess : Number.MAX_SAFE_INTEGER,
    messages,
    messagesMax: 0,
    isRefusing,
  });
  return {
    states: () => [
      row('GRM_REQ', server.requests.fill()),
      row('GRM_RES', server.results.fill()),
      row('GRM_FIN', server.verdicts.fill()),
    ],
    troubles: () => [],
    sampleBytes: () => limits.sampleBytesGuess,
    onLook(hear) {
      hearers.add(hear);
      return () => void hearers.delete(hear);
    },
    /** No weather of its own: what is seen is what is there. */
    look() {
      if (server.up && !wire.dead) {
        const isIdle = server.work.size === 0;
        wire.enter(() => {
          if (!wire.dead) for (const hear of hearers) hear({ lost: [], isIdle });
        });
      }
      return Promise.resolve();
    },
  };
}
