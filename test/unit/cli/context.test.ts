import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CliError, connect, doorOf, failureOf, reachable, readConfig } from '../../../src/cli/context.js';
import { snakeKeys } from '../../../src/cli/snake.js';
import { fault } from '../../../src/fault.js';
import { GrmError } from '../../../src/rpc/client.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'grm-context-'));
});
afterAll(() => rm(folder, { recursive: true }));

const resolvedOf = (...set: string[]) => readConfig({ set: [`up.data_dir=${folder}/none`, ...set] });

describe('the door', () => {
  it('is the one given, else that of the `grm up` of the folder, else the configured one', async () => {
    const set = ['grpc.listen=0.0.0.0:7600', 'grpc.allow_insecure=true'];
    expect(doorOf({ address: 'far:1' }, resolvedOf(...set))).toEqual({ address: 'far:1', own: false });
    expect(doorOf({}, resolvedOf(...set))).toEqual({ address: '127.0.0.1:7600', own: true });
    const state = { pid: process.pid, grpc: '127.0.0.1:4711', processes: {} };
    await writeFile(join(folder, 'cluster.json'), JSON.stringify(state));
    expect(doorOf({}, resolvedOf(`up.data_dir=${folder}`))).toEqual({ address: '127.0.0.1:4711', own: true });
    await writeFile(join(folder, 'cluster.json'), JSON.stringify({ pid: process.pid, processes: {} }));
    expect(doorOf({}, resolvedOf(`up.data_dir=${folder}`))).toMatchObject({
      address: '127.0.0.1:50051',
      starting: true,
    });
  });

  it.each([
    ['0.0.0.0:1', '127.0.0.1:1'],
    ['[::]:1', '[::1]:1'],
    ['10.0.0.1:1', '10.0.0.1:1'],
  ])('%s is called at %s', (listen, address) => {
    expect(reachable(listen)).toBe(address);
  });

  it.each([
    [{ caFile: '/nowhere/ca.pem' }, /^TLS: .*ENOENT/],
    [{ certFile: '/nowhere/cert.pem' }, /given together/],
    [{ tokenFile: '/nowhere/token' }, /^--token-file: .*ENOENT/],
  ])('is not called with %j: a wrong call', (options, words) => {
    const resolved = resolvedOf();
    expect(() => connect(options, resolved, { address: 'far:1', own: false })).toThrow(
      expect.objectContaining({ message: expect.stringMatching(words) as string, code: 2 }) as Error,
    );
  });
});

describe('failures', () => {
  const door = { address: 'host:1', own: true };

  it('of a service that is away name the address, the cause and what to do; exit code 3', () => {
    const wrapped =
      'round_robin: No connection established. Last error: No connection established. Last error: Error: connect ECONNREFUSED 127.0.0.1:50051. Resolution note: ';
    const { message, code } = failureOf(new GrmError(fault('unreachable', wrapped)), door);
    expect(message.split('\n')[0]).toBe('no coordinator answers at host:1: connect ECONNREFUSED 127.0.0.1:50051');
    expect(message).toContain('grm doctor');
    expect(code).toBe(3);
  });

  it('say that the cluster of the folder is still starting', () => {
    const away = new GrmError(fault('unreachable', 'x'));
    expect(failureOf(away, { ...door, starting: true }).message).toContain('still starting');
  });

  it('keep words of the library that are not known', () => {
    expect(failureOf(new GrmError(fault('unreachable', 'name resolution failed')), door).message).toMatch(
      /host:1: name resolution failed\n/,
    );
  });

  it.each([
    ['queue_unavailable', 3],
    ['overloaded', 3],
    ['unauthenticated', 1],
    ['not_found', 1],
    ['invalid_request', 2],
    ['internal', 1],
  ] as const)('%s ends with exit code %d', (kind, code) => {
    expect(failureOf(new GrmError(fault(kind, 'words')), door)).toMatchObject({
      code,
      message: expect.stringContaining('words') as string,
    });
  });

  it('list every wrong field', () => {
    const violations = [
      { field: 'a', description: 'came 1' },
      { field: 'b', description: 'came 2' },
    ];
    expect(failureOf(new GrmError(fault('invalid_request', 'wrong', { violations }))).message).toBe(
      'invalid_request: wrong\n  a: came 1\n  b: came 2',
    );
  });

  it('of the configuration are told all at once, as a wrong call', () => {
    expect(() => readConfig({ set: ['defaults.k=0', 'nope.x=1'] })).toThrow(CliError);
    const failing = (): unknown => readConfig({ set: ['defaults.k=0', 'nope.x=1'] });
    expect(failing).toThrow(/nope is not known[^]*defaults\.k must be at least 1/);
    expect(failing).toThrow(expect.objectContaining({ code: 2 }) as Error);
  });
});

it('JSON on the outside has the names of the protos', () => {
  expect(snakeKeys({ natsVersion: '2', nodes: [{ ratePerSecond: 1, id: 'aB' }], none: null })).toEqual({
    nats_version: '2',
    nodes: [{ rate_per_second: 1, id: 'aB' }],
    none: null,
  });
});
