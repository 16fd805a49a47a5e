// Long deadlines: grpc-js counts the time that a call is left in 32 bits, so that a caller who gives 25 days or more is told at once that its
// deadline is over. Such a call has none.

import type { ServerInterceptingCall, ServerInterceptor } from '@grpc/grpc-js';

/** Fields that grpc-js 1.14 keeps to itself. */
interface Timed {
  deadline?: unknown;
  deadlineTimer?: NodeJS.Timeout | null;
}

/** No caller leaves less time than none: a deadline so long before its call is one that overflowed. */
const overflowMs = 1_000;

export function longDeadlines(): ServerInterceptor {
  return (_method, call) => {
    const timed = call as unknown as Timed;
    if (typeof timed.deadline === 'number' && timed.deadline < Date.now() - overflowMs) {
      clearTimeout(timed.deadlineTimer ?? undefined);
      timed.deadline = Infinity;
    }
    // Handed on as it is: arrival.ts needs the first call too, for its stream.
    return call as unknown as ServerInterceptingCall;
  };
}
