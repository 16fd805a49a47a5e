// A cluster that trusts nobody by default: TLS and client certificates, bearer tokens with tenants, NATS with a token, an engine with a key.

import { fork } from 'node:child_process';
import { once as onceEvent } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { requestIdOfKey } from '../../src/coordinator/identity.js';
import type { ConnectOptions, GrmClient, ScoreRequest } from '../../src/rpc/client.js';
import { clientOf, enginesAt, once, page, settled, startCluster, same } from '../support/cluster.js';
import { cliFolder, jsonLines } from '../support/cli.js';
import { built } from '../support/processes.js';
import { makeCertificates } from '../support/rpc-peer.js';

const secrets = {
  nats: 'nats-secret-5f1d',
  operator: 'operator-secret-77a0',
  red: 'red-secret-19bc',
  engine: 'engine-secret-c3e4',
} as const;

const request: ScoreRequest = {
  query: 'Who may ask?',
  responses: ['Whoever has a token. quality=9', 'Anybody. quality=1'],
  idempotencyKey: 'item-1',
  k: 4,
};

test('TLS, client certificates, tokens and tenants by configuration; secrets stand nowhere', async () => {
  await using certificates = await makeCertificates();
  await using foreign = await makeCertificates();
  await using cluster = await startCluster(
    { apiKey: secrets.engine },
    {
      GRM_NATS__TOKEN: secrets.nats,
      GRM_GRPC__TLS__CERT_FILE: certificates.server.certFile,
      GRM_GRPC__TLS__KEY_FILE: certificates.server.keyFile,
      GRM_GRPC__TLS__CLIENT_CA_FILE: certificates.caFile,
      GRM_GRPC__TOKENS: JSON.stringify([
        { name: 'operator', token: secrets.operator },
        { name: 'red team', token: secrets.red, tenants: ['red', 'rose'] },
      ]),
    },
    { config: `authorization { token: "${secrets.nats}" }` },
  );
  const coordinator = await cluster.start('coordinator');
  const worker = await cluster.start('grm-worker', enginesAt(cluster.engine.url, 16, { api_key: secrets.engine }));
  const { caFile, client: certificate } = certificates;
  const clients: GrmClient[] = [];
  const as = (token: string | undefined, more: Partial<ConnectOptions> = {}): GrmClient => {
    const options = { ...once, tls: { caFile, ...certificate }, ...(token !== undefined && { token }), ...more };
    const client = clientOf(coordinator, options);
    clients.push(client);
    return client;
  };
  try {
    const operator = as(secrets.operator);
    await cluster.serving(operator, 1, 0);

    // Over what one speaks.
    for (const tls of [
      undefined,
      { caFile },
      { caFile, ...foreign.client },
      { caFile: foreign.caFile, ...certificate },
    ]) {
      const stranger = clientOf(coordinator, { ...once, token: secrets.operator, ...(tls && { tls }) });
      clients.push(stranger);
      expect(await settled(stranger.score(request))).toMatchObject({ kind: 'unreachable' });
    }

    // Who one is.
    expect(await settled(as(undefined).score(request))).toMatchObject({ kind: 'unauthenticated' });
    expect(await settled(as('wrong').score(request))).toMatchObject({ kind: 'unauthenticated' });
    expect(await settled(as('wrong').status())).toMatchObject({ kind: 'unauthenticated' });

    // For whom one may ask.
    const red = as(secrets.red);
    const mine = await red.score(request);
    expect(mine).toMatchObject({ kind: 'valid', best: 0 });
    expect((await red.verdict('item-1'))?.verdict).toEqual({ ...mine, stored: true });
    expect(await red.score({ ...request, tenant: 'rose' })).toMatchObject({ kind: 'valid' });
    expect(await settled(red.score({ ...request, tenant: 'blue' }))).toMatchObject({ kind: 'permission_denied' });
    expect(await settled(red.verdict('item-1', { tenant: 'blue' }))).toMatchObject({ kind: 'permission_denied' });
    for await (const result of red.scoreMany([{ ...request, tenant: 'blue' }])) {
      expect(result).toMatchObject({ kind: 'fault', fault: { kind: 'permission_denied' } });
    }
    for (const call of [red.status(), red.drain(), red.cancel(mine.requestId), red.listDead(), red.retryDead()]) {
      expect(await settled<unknown>(call)).toMatchObject({ kind: 'permission_denied' });
    }

    // The same key of another tenant is another request, and its verdict is not to be had by its id either.
    const blue = await operator.score({ ...request, tenant: 'blue' });
    expect(blue.requestId).not.toBe(mine.requestId);
    expect(blue.requestId).toBe(requestIdOfKey('item-1', 'blue'));
    expect(await red.verdict(blue.requestId)).toBeUndefined();
    expect(same((await operator.verdict(blue.requestId))?.verdict)).toEqual(same(blue));
    expect((await red.verdict(mine.requestId))?.verdict).toEqual({ ...mine, stored: true });

    // The same on the command line.
    await using cli = await cliFolder({ GRM_ADDRESS: coordinator.grpc });
    await writeFile(cli.file('operator'), `${secrets.operator}\n`);
    await writeFile(cli.file('red'), `${secrets.red}\n`);
    const trust = ['--ca-file', caFile];
    const identity = ['--cert-file', certificate.certFile, '--key-file', certificate.keyFile];
    const door = (name: string) => [...trust, ...identity, '--token-file', cli.file(name)];
    const row = JSON.stringify({ id: 7, query: request.query, responses: request.responses });
    const said: string[] = [];
    const grm = async (args: readonly string[], input?: string) => {
      const end = await cli.run(args, input);
      said.push(end.out, end.err);
      return end;
    };
    const status = await grm(['status', '--json', ...door('operator')]);
    expect(status).toMatchObject({ code: 0, err: '' });
    expect(status.out).toContain(worker.node);
    const scored = await grm(['score', '--k', '2', '--tenant', 'red', ...door('red')], row);
    expect(scored.code, scored.err).toBe(0);
    expect(jsonLines(scored.out)[0]).toMatchObject({ id: 7, k_valid: 2, best: 0 });
    const id = String(jsonLines(scored.out)[0]?.request_id);
    expect(await grm(['inspect', id, '--tenant', 'red', ...door('red')])).toMatchObject({ code: 0, err: '' });
    expect(await grm(['dead', 'list', ...door('operator')])).toMatchObject({
      code: 0,
      out: 'nothing is quarantined\n',
    });
    expect(await grm(['dead', 'retry', ...door('operator')])).toMatchObject({
      code: 0,
      out: 'no request runs again\n',
    });
    for (const args of [['status'], ['dead', 'list'], ['dead', 'retry'], ['drain']]) {
      const refused = await grm([...args, ...door('red')]);
      expect([refused.code, refused.err], args.join(' ')).toEqual([
        1,
        expect.stringMatching(/^grm: permission_denied: /),
      ]);
    }
    const blueRow = await grm(['score', '--tenant', 'blue', ...door('red')], row);
    expect(blueRow.code, blueRow.err).toBe(1);
    expect(jsonLines(blueRow.out)[0]).toMatchObject({
      rewards: null,
      error: { kind: 'permission_denied', retry: false },
    });
    for (const args of [['status'], ['score']]) {
      const nobody = await grm([...args, ...trust, ...identity], row);
      expect(nobody.code, args.join(' ')).toBe(1);
      expect(nobody.err, args.join(' ')).toMatch(
        /^grm: unauthenticated: .*\n {2}give a token with --token-file or GRM_TOKEN\n$/,
      );
      for (const way of [[], trust]) {
        const stranger = await grm([...args, ...way, '--token-file', cli.file('operator')], row);
        expect(stranger.code, args.join(' ')).toBe(3);
        expect(stranger.err, args.join(' ')).toMatch(/no coordinator answers at [^]*--ca-file/);
      }
    }
    for (const [wrong, words] of [
      [['--ca-file', 'nowhere'], /^grm: TLS: .*nowhere/],
      [['--token-file', 'nowhere'], /^grm: --token-file: .*nowhere/],
      [['--cert-file', 'alone'], /^grm: --cert-file and --key-file are given together/],
    ] as const) {
      const refused = await grm(['status', ...wrong]);
      expect([refused.code, refused.err]).toEqual([2, expect.stringMatching(words)]);
    }
    for (const [name, secret] of Object.entries(secrets)) expect(said.join('\n').includes(secret), name).toBe(false);

    // No secret in logs, in what is served over HTTP, or in what status tells.
    const told = [JSON.stringify(await operator.status())];
    for (const process of [coordinator, worker]) {
      told.push(process.log());
      for (const path of ['/metrics', '/readyz', '/debug/state']) told.push((await page(process, path)).body);
    }
    for (const [name, secret] of Object.entries(secrets)) expect(told.join('\n').includes(secret), name).toBe(false);

    // A process with the wrong token for NATS says so and ends.
    const refused = cluster.start('grm-worker', { GRM_NATS__TOKEN: 'not the token' });
    await expect(refused).rejects.toThrow(/refuses these credentials/);
    await expect(refused).rejects.not.toThrow(/not the token/);
  } finally {
    for (const client of clients) client.close();
  }
}, 120_000);

test('a door that would stand open to other machines without TLS does not open', async () => {
  const child = fork(built('services/coordinator/main.js'), ['--set', 'grpc.listen=0.0.0.0:0'], {
    env: { PATH: process.env.PATH ?? '' },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    execArgv: [],
  });
  let said = '';
  child.stderr?.on('data', (chunk: Buffer) => (said += chunk.toString()));
  const [code] = (await onceEvent(child, 'exit')) as [number];
  expect(code).toBe(2);
  expect(said).toMatch(/grpc\.listen.*without encryption/s);
});
