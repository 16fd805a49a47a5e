// Fault: everything that can go wrong at a door, one row each. gRPC and HTTP statuses, retry disposition, metric label and
// the line in docs/errors.md (generated from here) all come from this table.

/** retryable: the same call may succeed later; terminal: it never will; shed: it may succeed after `retryAfterMs`. */
export type Disposition = 'retryable' | 'terminal' | 'shed';

export interface FaultRow {
  /** Canonical gRPC code name. */
  readonly grpc:
    | 'INVALID_ARGUMENT'
    | 'ALREADY_EXISTS'
    | 'NOT_FOUND'
    | 'RESOURCE_EXHAUSTED'
    | 'UNAVAILABLE'
    | 'DEADLINE_EXCEEDED'
    | 'CANCELLED'
    | 'UNAUTHENTICATED'
    | 'PERMISSION_DENIED'
    | 'FAILED_PRECONDITION'
    | 'INTERNAL';
  readonly http: number;
  readonly disposition: Disposition;
  readonly doc: string;
}

export const faults = {
  invalid_request: {
    grpc: 'INVALID_ARGUMENT',
    http: 400,
    disposition: 'terminal',
    doc: 'Fields are wrong; all violations are listed in the details.',
  },
  key_reused: {
    grpc: 'ALREADY_EXISTS',
    http: 409,
    disposition: 'terminal',
    doc: 'The idempotency key belongs to a request with other content or options.',
  },
  judge_changed: {
    grpc: 'FAILED_PRECONDITION',
    http: 412,
    disposition: 'terminal',
    doc: 'Another judge than the one that is expected, or than the one of this idempotency key, judges now; both are named. Scores of two judges do not compare: begin anew, or allow the change.',
  },
  not_found: {
    grpc: 'NOT_FOUND',
    http: 404,
    disposition: 'terminal',
    doc: 'No such request, node or shard is known, or it is no longer kept.',
  },
  overloaded: {
    grpc: 'RESOURCE_EXHAUSTED',
    http: 429,
    disposition: 'shed',
    doc: 'The coordinator or its queues are full; retry after the delay in the details.',
  },
  draining: {
    grpc: 'UNAVAILABLE',
    http: 503,
    disposition: 'retryable',
    doc: 'This coordinator is shutting down; retry at another.',
  },
  queue_unavailable: {
    grpc: 'UNAVAILABLE',
    http: 503,
    disposition: 'retryable',
    doc: 'NATS does not answer; nothing was accepted, or what was accepted goes on.',
  },
  clock_off: {
    grpc: 'UNAVAILABLE',
    http: 503,
    disposition: 'retryable',
    doc: "This coordinator's machine has a clock that is too far from NATS's, or could not read NATS's yet; nothing was accepted; retry at another.",
  },
  unreachable: {
    grpc: 'UNAVAILABLE',
    http: 503,
    disposition: 'retryable',
    doc: 'No coordinator answers at the address (told by the client, never sent).',
  },
  no_engine: {
    grpc: 'UNAVAILABLE',
    http: 503,
    disposition: 'retryable',
    doc: 'No engine serves the pool, or none of them brings a sample (told by the client of long work, never sent).',
  },
  deadline_exceeded: {
    grpc: 'DEADLINE_EXCEEDED',
    http: 504,
    disposition: 'retryable',
    doc: "The caller's deadline passed first; a retry joins the running request.",
  },
  cancelled: {
    grpc: 'CANCELLED',
    http: 499,
    disposition: 'retryable',
    doc: "The caller or an operator cancelled the request; samples already drawn are kept for a retry, which is the caller's to make.",
  },
  unauthenticated: {
    grpc: 'UNAUTHENTICATED',
    http: 401,
    disposition: 'terminal',
    doc: 'The bearer token is missing or unknown.',
  },
  permission_denied: {
    grpc: 'PERMISSION_DENIED',
    http: 403,
    disposition: 'terminal',
    doc: 'The token may not do this.',
  },
  failed_precondition: {
    grpc: 'FAILED_PRECONDITION',
    http: 412,
    disposition: 'terminal',
    doc: 'The cluster is not in a state in which this can be done.',
  },
  internal: {
    grpc: 'INTERNAL',
    http: 500,
    disposition: 'retryable',
    doc: 'A bug; the log holds the stack under the request id.',
  },
} as const satisfies Record<string, FaultRow>;

export type FaultKind = keyof typeof faults;

/** One wrong field: its path in the request, what came, what was expected. */
export interface Violation {
  readonly field: string;
  readonly description: string;
}

/** A fault as a value. */
export interface Fault {
  readonly kind: FaultKind;
  readonly message: string;
  readonly violations?: readonly Violation[];
  readonly retryAfterMs?: number;
}

export function fault(kind: FaultKind, message: string, more: Omit<Fault, 'kind' | 'message'> = {}): Fault {
  return { kind, message, ...more };
}

/** Carries a fault across code that cannot return one (streams, third-party callbacks); the rim unwraps it. */
export class FaultError extends Error {
  constructor(readonly fault: Fault) {
    super(fault.message);
    this.name = 'FaultError';
  }
}
