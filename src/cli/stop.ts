// Stop: what Ctrl-C means. The first one ends the work cleanly, the second one at once. SIGTERM and a closed terminal count as Ctrl-C.

import { exitCodes, type ExitCode } from '../process/run.js';

export interface Stop {
  readonly first: AbortSignal;
  readonly second: AbortSignal;
  /** As the first signal, by nobody's hand: the run ends cleanly, and well. */
  enough(): void;
  /** Of a run that was interrupted: by the last signal that came. */
  code(): ExitCode;
}

const names = { SIGINT: exitCodes.interrupted, SIGTERM: exitCodes.terminated, SIGHUP: exitCodes.terminated } as const;

/** One Ctrl-C may come twice: from the terminal, and handed on by npx or `timeout`. What comes so soon after the first is the first. */
const echoMs = 300;

/**
 * @param atSecond what the second signal does: ends this process (default), or only aborts `second`, for those with children to end
 */
export function stopSignals(atSecond: 'exit' | 'tell' = 'exit'): Stop {
  const first = new AbortController();
  const second = new AbortController();
  let code: ExitCode = exitCodes.interrupted;
  let firstAtMs = 0;
  for (const [name, its] of Object.entries(names)) {
    process.on(name, () => {
      code = its;
      if (!first.signal.aborted) {
        firstAtMs = performance.now();
        first.abort();
      } else if (performance.now() - firstAtMs < echoMs) return;
      else if (atSecond === 'exit') process.exit(its);
      else second.abort();
    });
  }
  const enough = (): void => {
    if (first.signal.aborted) return;
    code = exitCodes.ok;
    first.abort();
  };
  return { first: first.signal, second: second.signal, enough, code: () => code };
}
