import { Metadata, status as codes } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { fault, faults, FaultError, type Fault, type FaultKind } from '../../../src/fault.js';
import { limits } from '../../../src/limits.js';
import { faultOf, faultOfError, statusMessageOf, statusOf } from '../../../src/rpc/status.js';

/** What a client is given when a call ends with this status. */
function thrown(code: number, details: string, metadata = new Metadata()): Error {
  return Object.assign(new Error(`${code} ${details}`), { code, details, metadata });
}

const kinds = Object.keys(faults) as FaultKind[];

describe('status', () => {
  it.each(kinds)('S1: %s comes back as itself, through trailers and through a stream', (kind) => {
    const sent: Fault = {
      kind,
      message: 'what happened – ünïcode',
      violations: [{ field: 'content.responses[2]', description: 'came 1, expected a text' }],
      retryAfterMs: 1_250,
    };
    const { code, details, metadata } = statusOf(sent);
    expect(code).toBe(codes[faults[kind].grpc]);
    expect(faultOfError(thrown(code, details, metadata))).toEqual(sent);
    expect(faultOf(statusMessageOf(sent))).toEqual(sent);
  });

  it('S1: sends the delay as pushback too, and nothing that it was not told', () => {
    expect(
      statusOf(fault('overloaded', 'full', { retryAfterMs: 500.4 })).metadata.get('grpc-retry-pushback-ms'),
    ).toEqual(['500']);
    const { code, details, metadata } = statusOf(fault('not_found', 'gone'));
    expect(metadata.get('grpc-retry-pushback-ms')).toEqual([]);
    expect(faultOfError(thrown(code, details, metadata))).toEqual({ kind: 'not_found', message: 'gone' });
  });

  it('S2: keeps trailers small and says how many violations are left out', () => {
    const violations = Array.from({ length: 50 }, (_, at) => ({
      field: `content.responses[${at}]`,
      description: 'x'.repeat(250),
    }));
    const { code, details, metadata } = statusOf(fault('invalid_request', 'y'.repeat(10_000), { violations }));
    expect((metadata.get('grpc-status-details-bin')[0] as Buffer).length).toBeLessThan(
      limits.statusDetailsBytesMax + 600,
    );
    expect(details.length).toBeLessThanOrEqual(300);
    const back = faultOfError(thrown(code, details, metadata)).violations!;
    const last = back.at(-1)!;
    expect(last).toEqual({ field: '', description: `and ${50 - (back.length - 1)} more` });
    expect(back.slice(0, -1)).toEqual(violations.slice(0, back.length - 1));
    expect(statusMessageOf(fault('invalid_request', '', { violations })).details[1]!.value.length).toBeGreaterThan(
      12_000,
    );
  });

  it('S2: survives a message cut inside a surrogate pair', () => {
    const { details } = statusOf(fault('internal', `${'a'.repeat(299)}🧮`));
    expect(details).toBe(`${'a'.repeat(299)}\ufffd`);
  });

  it.each<[string, number, FaultKind]>([
    ['nobody listens', codes.UNAVAILABLE, 'unreachable'],
    ['a message above the size limit', codes.RESOURCE_EXHAUSTED, 'invalid_request'],
    ['a server without this call', codes.UNIMPLEMENTED, 'failed_precondition'],
    ['the local deadline', codes.DEADLINE_EXCEEDED, 'deadline_exceeded'],
    ['a connection that was cut', codes.CANCELLED, 'unreachable'],
    ['Received RST_STREAM with code 0 (Call ended without gRPC status)', codes.INTERNAL, 'unreachable'],
    ['Received RST_STREAM with code 2 (Internal server error)', codes.INTERNAL, 'unreachable'],
    [
      'Received RST_STREAM with code 2 triggered by internal client error: Session closed with error code 2',
      codes.INTERNAL,
      'unreachable',
    ],
    ['Failed to start HTTP/2 stream with error "The session has been destroyed"', codes.INTERNAL, 'unreachable'],
    ['Bandwidth exhausted or memory limit exceeded', codes.RESOURCE_EXHAUSTED, 'unreachable'],
    ['Error serializing: no Received RST_STREAM with code 2', codes.INTERNAL, 'internal'],
    ['a code from the future', 77, 'internal'],
  ])('S3: takes a stranger at the code: %s', (words, code, kind) => {
    expect(faultOfError(thrown(code, words))).toEqual({ kind, message: words });
  });

  it('S3: takes a stranger that sheds with a delay as shedding', () => {
    const metadata = new Metadata();
    metadata.set('grpc-retry-pushback-ms', '70');
    expect(faultOfError(thrown(codes.RESOURCE_EXHAUSTED, 'busy', metadata))).toEqual({
      kind: 'overloaded',
      message: 'busy',
      retryAfterMs: 70,
    });
  });

  it('S3: is not led astray by details that do not decode or are of another domain', () => {
    const metadata = new Metadata();
    metadata.set('grpc-status-details-bin', Buffer.from([0xff, 0xff, 0xff]));
    expect(faultOfError(thrown(codes.NOT_FOUND, 'x', metadata))).toEqual({ kind: 'not_found', message: 'x' });
    const message = statusMessageOf(fault('draining', 'x'));
    message.details[0]!.value = Buffer.from(
      message.details[0]!.value.toString('latin1').replace('grm.v1', 'abc.v9'),
      'latin1',
    );
    expect(faultOf(message)).toEqual({ kind: 'unreachable', message: 'x' });
  });

  it('passes faults through and calls everything else internal', () => {
    const it = fault('draining', 'x');
    expect(faultOfError(new FaultError(it))).toBe(it);
    expect(faultOfError(new TypeError('oops'))).toEqual({ kind: 'internal', message: 'oops' });
  });
});
