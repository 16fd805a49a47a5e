// The embedded engine's child process: the model computes here, so that the worker's event loop never waits for it.
// It is started by src/engine/llama-child.ts, speaks src/engine/llama-protocol.ts, and ends with its channel (L3).

import { UnfitModel } from '../../src/engine/engine.js';
import { loadLlama } from '../../src/engine/llama-load.js';
import type { FromChild, LlamaChildOptions, ToChild } from '../../src/engine/llama-protocol.js';
import { LlamaServer } from '../../src/engine/llama-serve.js';

if (process.send === undefined) {
  process.stderr.write('the llama engine is started by a worker, not by hand\n');
  process.exit(2);
}

// A terminal's Ctrl-C and a service manager's SIGTERM reach the whole group: the worker drains first and needs this process for it.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);
process.on('disconnect', () => process.exit(0));

function tell(message: FromChild): void {
  if (process.connected) process.send?.(message, undefined, undefined, () => undefined);
}

/** Says why and leaves once the word is out. */
function leave(message: FromChild): void {
  process.send?.(message, undefined, undefined, () => process.exit(1));
}

let server: LlamaServer | undefined;

async function open(options: LlamaChildOptions): Promise<void> {
  try {
    const loaded = await loadLlama(options, tell);
    server = new LlamaServer(loaded, options.stop, tell, (reason) => {
      leave({ kind: 'log', level: 'error', message: `leaving after a failed evaluation: ${reason}` });
    });
    tell({ kind: 'ready', facts: loaded.facts });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    leave({ kind: 'failed', reason, unfit: error instanceof UnfitModel });
  }
}

process.on('message', (message: ToChild) => {
  if (message.kind === 'open') void open(message.options);
  else server?.handle(message);
});
