// Status: faults to gRPC statuses and back, and nothing else in the project translates a gRPC error.
//
//   S1. Every status that this service sends carries google.rpc details: ErrorInfo with the fault's kind (domain "grm.v1"), BadRequest with
//       the violations, RetryInfo with the delay. Clients tell faults apart by them, never by message text.
//   S2. Details in trailers stay below limits.statusDetailsBytesMax; violations that do not fit are counted in the last one.
//   S3. A status without our ErrorInfo comes from the gRPC library, a proxy or another server: it is mapped by code alone, but for the library's
//       words where a call ended without any status.

import { Metadata, status as codes, type ServiceError, type StatusObject } from '@grpc/grpc-js';
import { fault, faults, FaultError, type Fault, type FaultKind, type Violation } from '../fault.js';
import { limits } from '../limits.js';
import { BadRequest, ErrorInfo, RetryInfo, Status } from '../wire/gen/google/rpc/error_details.js';
import type { Any } from '../wire/gen/google/protobuf/any.js';

const domain = 'grm.v1';
const exhausted: number = codes.RESOURCE_EXHAUSTED;
const detailsKey = 'grpc-status-details-bin';
const pushbackKey = 'grpc-retry-pushback-ms';
const typePrefix = 'type.googleapis.com/google.rpc.';
/** Characters of a message: it stands in the trailers too. */
const messageCharsMax = 300;

/** A gRPC status with its details, for trailers. */
export function statusOf(it: Fault): Pick<StatusObject, 'code' | 'details' | 'metadata'> {
  const details = fitting(it);
  const code = codes[faults[it.kind].grpc];
  const metadata = new Metadata();
  metadata.set(detailsKey, Buffer.from(Status.encode(details).finish()));
  if (it.retryAfterMs !== undefined) metadata.set(pushbackKey, String(Math.round(it.retryAfterMs)));
  return { code, details: details.message, metadata };
}

/** The same as a message, for a stream's answers: no trailers, so all violations fit. */
export function statusMessageOf(it: Fault): Status {
  const details: Any[] = [any('ErrorInfo', ErrorInfo.encode({ reason: it.kind, domain, metadata: {} }).finish())];
  if (it.violations) {
    const fieldViolations = it.violations.map(({ field, description }) => ({ field, description }));
    details.push(any('BadRequest', BadRequest.encode({ fieldViolations }).finish()));
  }
  if (it.retryAfterMs !== undefined) {
    const ms = Math.max(0, Math.round(it.retryAfterMs));
    const retryDelay = { seconds: Math.floor(ms / 1000), nanos: (ms % 1000) * 1_000_000 };
    details.push(any('RetryInfo', RetryInfo.encode({ retryDelay }).finish()));
  }
  const message = it.message.slice(0, messageCharsMax).toWellFormed();
  return { code: codes[faults[it.kind].grpc], message, details };
}

/** The fault in a status message (S3 for a stranger's). */
export function faultOf(status: Status): Fault {
  const ours = readDetails(status);
  return { kind: ours.kind ?? strangerKind(status, ours), message: status.message, ...ours.rest };
}

/** The fault in whatever a gRPC call failed with. */
export function faultOfError(error: unknown): Fault {
  if (error instanceof FaultError) return error.fault;
  if (!isServiceError(error)) return fault('internal', error instanceof Error ? error.message : String(error));
  const [bytes] = error.metadata.get(detailsKey);
  const sent = bytes === undefined || typeof bytes === 'string' ? undefined : decoded(Status, bytes);
  const it = faultOf({ code: error.code, message: sent?.message ?? error.details, details: sent?.details ?? [] });
  if (it.retryAfterMs !== undefined) return it;
  const [pushback] = error.metadata.get(pushbackKey);
  const pushbackMs = pushback === undefined ? NaN : Number(pushback);
  if (!(pushbackMs >= 0)) return it;
  const code: number = error.code;
  const shed = code === exhausted && it.kind === 'invalid_request';
  return { ...it, ...(shed && { kind: 'overloaded' as const }), retryAfterMs: pushbackMs };
}

/** Violations one by one until the trailers are full (S2). */
function fitting(it: Fault): Status {
  const all = it.violations ?? [];
  for (let told = all.length; ; told = Math.floor(told * 0.8)) {
    const more: Violation[] = told < all.length ? [{ field: '', description: `and ${all.length - told} more` }] : [];
    const status = statusMessageOf(it.violations ? { ...it, violations: [...all.slice(0, told), ...more] } : it);
    const bytes = status.details.reduce((sum, detail) => sum + detail.value.length + detail.typeUrl.length, 0);
    if (bytes <= limits.statusDetailsBytesMax || told === 0) return status;
  }
}

interface OurDetails {
  readonly kind?: FaultKind;
  readonly rest: { readonly violations?: readonly Violation[]; readonly retryAfterMs?: number };
}

function readDetails(status: Status): OurDetails {
  const info = detail(status, 'ErrorInfo', ErrorInfo);
  const violations = detail(status, 'BadRequest', BadRequest)?.fieldViolations;
  const delay = detail(status, 'RetryInfo', RetryInfo)?.retryDelay;
  const known = info?.domain === domain && Object.hasOwn(faults, info.reason);
  return {
    ...(known && { kind: info.reason as FaultKind }),
    rest: {
      ...(violations && { violations }),
      ...(delay && { retryAfterMs: delay.seconds * 1000 + delay.nanos / 1_000_000 }),
    },
  };
}

/** What a code means from somebody who is not this service (S3). */
const strangers = new Map<number, FaultKind>([
  [codes.INVALID_ARGUMENT, 'invalid_request'],
  [codes.OUT_OF_RANGE, 'invalid_request'],
  [codes.ALREADY_EXISTS, 'key_reused'],
  [codes.NOT_FOUND, 'not_found'],
  [codes.UNAVAILABLE, 'unreachable'],
  [codes.DEADLINE_EXCEEDED, 'deadline_exceeded'],
  // A cut connection; the client knows its own cancelling by its signal.
  [codes.CANCELLED, 'unreachable'],
  [codes.UNAUTHENTICATED, 'unauthenticated'],
  [codes.PERMISSION_DENIED, 'permission_denied'],
  [codes.FAILED_PRECONDITION, 'failed_precondition'],
  [codes.UNIMPLEMENTED, 'failed_precondition'],
]);

/**
 * grpc-js's words for a call that ended with its stream or its connection, before there was a status. This service answers every call with a
 * status (S1), so it is never the request's fault: a server that hears nothing within the keep-alive (server.ts, V2) ends the connection, and so
 * does HTTP/2 with all its calls when other calls were reset too often (sessions.ts, SE2).
 */
const endedUnanswered: readonly { readonly code: number; readonly words: RegExp }[] = [
  { code: codes.INTERNAL, words: /^Received RST_STREAM with code \d+|^Failed to start HTTP\/2 stream/ },
  { code: codes.RESOURCE_EXHAUSTED, words: /^Bandwidth exhausted or memory limit exceeded/ },
];

/** The gRPC library says RESOURCE_EXHAUSTED of a message above its size limit, which no retry makes smaller; who sheds load names a delay. */
function strangerKind({ code, message }: Status, { rest }: OurDetails): FaultKind {
  if (endedUnanswered.some((each) => each.code === code && each.words.test(message))) return 'unreachable';
  if (code === exhausted) {
    return rest.retryAfterMs === undefined ? 'invalid_request' : 'overloaded';
  }
  return strangers.get(code) ?? 'internal';
}

function any(name: string, value: Uint8Array): Any {
  return { typeUrl: typePrefix + name, value: Buffer.from(value) };
}

interface Codec<T> {
  decode(bytes: Uint8Array): T;
}

function detail<T>(status: Status, name: string, codec: Codec<T>): T | undefined {
  const found = status.details.find((each) => each.typeUrl === typePrefix + name);
  return found && decoded(codec, found.value);
}

/** A proxy may put anything under the same name: what does not decode is not there. */
function decoded<T>(codec: Codec<T>, bytes: Uint8Array): T | undefined {
  try {
    return codec.decode(bytes);
  } catch {
    return undefined;
  }
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && 'code' in error && 'metadata' in error && error.metadata instanceof Metadata;
}
