// Who may talk to the server, and over what: TLS, mTLS, tokens, tenants.

import { copyFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { GrmClient } from '../../../src/rpc/client.js';
import { Auth } from '../../../src/rpc/auth.js';
import { failure, aRequest, makeCertificates, RpcPeer, until, type Certificates } from '../../support/rpc-peer.js';

const once = { retries: { triesMax: 1 } };

let certificates: Certificates;
let foreign: Certificates;
beforeAll(async () => {
  [certificates, foreign] = await Promise.all([makeCertificates(), makeCertificates()]);
});
afterAll(async () => {
  await certificates[Symbol.asyncDispose]();
  await foreign[Symbol.asyncDispose]();
});

describe('TLS', () => {
  it('serves who trusts its authority, and nobody else', async () => {
    await using peer = await RpcPeer.open({ tls: certificates.server });
    const { caFile } = certificates;
    expect((await peer.client({ tls: { caFile } }).score(aRequest())).kind).toBe('valid');
    expect((await failure(peer.client({ ...once, tls: { caFile: foreign.caFile } }).score(aRequest()))).kind).toBe(
      'unreachable',
    );
    expect((await failure(peer.client(once).score(aRequest()))).kind).toBe('unreachable');
    expect(peer.coordinator.calls).toHaveLength(1);
  });

  it('checks the name in the certificate', async () => {
    await using peer = await RpcPeer.open({ tls: certificates.server });
    const { caFile } = certificates;
    expect((await peer.client({ tls: { caFile, serverName: 'localhost' } }).score(aRequest())).kind).toBe('valid');
    const wrong = peer.client({ ...once, tls: { caFile, serverName: 'somebody.else' } });
    expect((await failure(wrong.score(aRequest()))).kind).toBe('unreachable');
  });

  it('mTLS: asks for a certificate of its authority', async () => {
    const { caFile } = certificates;
    await using peer = await RpcPeer.open({ tls: { ...certificates.server, clientCaFile: caFile } });
    expect((await peer.client({ tls: { caFile, ...certificates.client } }).score(aRequest())).kind).toBe('valid');
    for (const tls of [{ caFile }, { caFile, ...foreign.client }]) {
      expect((await failure(peer.client({ ...once, tls }).score(aRequest()))).kind).toBe('unreachable');
    }
    expect(peer.coordinator.calls).toHaveLength(1);
  });

  it.each([
    ['expired', /expired/],
    ['early', /not yet valid/],
  ] as const)('a certificate that is %s is refused at either end', async (when, words) => {
    const { caFile } = certificates;
    const out = certificates[when];
    await using peer = await RpcPeer.open({ tls: out });
    const refused = await failure(peer.client({ ...once, tls: { caFile } }).score(aRequest()));
    expect([refused.kind, refused.message]).toEqual(['unreachable', expect.stringMatching(words)]);
    await using strict = await RpcPeer.open({ tls: { ...certificates.server, clientCaFile: caFile } });
    const stranger = strict.client({ ...once, tls: { caFile, ...out } });
    expect((await failure(stranger.score(aRequest()))).kind).toBe('unreachable');
    expect((await strict.client({ tls: { caFile, ...certificates.client } }).score(aRequest())).kind).toBe('valid');
    expect([...peer.coordinator.calls, ...strict.coordinator.calls]).toHaveLength(1);
  });

  it('T2: takes up new files without a restart, and keeps the old ones while the new are broken', async () => {
    const file = (name: string) => join(certificates.folder, name);
    const tls = { certFile: file('live.crt'), keyFile: file('live.key') };
    const install = async (from: Certificates) => {
      await copyFile(from.server.certFile, tls.certFile);
      await copyFile(from.server.keyFile, tls.keyFile);
    };
    await install(certificates);
    await using peer = await RpcPeer.open({ tls, tlsReloadMs: 10 });
    const trusts = async (from: Certificates) => {
      const client = peer.client({ ...once, tls: { caFile: from.caFile } });
      return client.score(aRequest()).then(
        () => true,
        () => false,
      );
    };
    expect(await trusts(certificates)).toBe(true);

    await writeFile(tls.certFile, 'no certificate');
    await until(() => peer.troubles.length > 0);
    expect(await trusts(certificates)).toBe(true);

    await install(foreign);
    while (!(await trusts(foreign))) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(await trusts(certificates)).toBe(false);
  });

  it('says at the start which file does not load', async () => {
    const { certFile, keyFile } = certificates.server;
    await expect(RpcPeer.open({ tls: { certFile: '/nowhere.crt', keyFile } })).rejects.toThrow('/nowhere.crt');
    await expect(RpcPeer.open({ tls: { certFile, keyFile: certificates.client.keyFile } })).rejects.toThrow(/key/);
  });
});

describe('T1: exposure', () => {
  it.each(['0.0.0.0:0', '[::]:0', '10.1.2.3:7600', 'coordinator.example:7600', ':7600'])(
    'refuses %s in plain text',
    async (listen) => {
      await expect(RpcPeer.open({ listen })).rejects.toThrow(/rpc\.tls .*rpc\.allowInsecure/);
    },
  );

  it('listens beyond loopback with TLS, or when told to', async () => {
    await using secure = await RpcPeer.open({ listen: '0.0.0.0:0', tls: certificates.server });
    await using insecure = await RpcPeer.open({ listen: '0.0.0.0:0', allowInsecure: true });
    expect([secure.server.address, insecure.server.address]).toEqual([
      expect.stringMatching(/^0\.0\.0\.0:\d+$/),
      expect.stringMatching(/^0\.0\.0\.0:\d+$/),
    ]);
    const port = insecure.server.address.split(':')[1]!;
    expect((await insecure.client({ address: `localhost:${port}` }).score(aRequest())).kind).toBe('valid');
  });

  it('takes loopback in all its spellings', async () => {
    for (const listen of ['127.0.0.1:0', '127.8.9.1:0', 'localhost:0']) {
      await using peer = await RpcPeer.open({ listen });
      expect((await peer.client().score(aRequest())).kind).toBe('valid');
    }
  });
});

describe('tokens', () => {
  const tokens = [
    { name: 'operator', token: 'operator-secret' },
    { name: 'trainer', token: 'trainer-secret', tenants: ['team-a', 'team-b'] },
  ];
  let peer: RpcPeer;
  const as = (token: string | undefined, more = {}): GrmClient =>
    peer.client({ ...once, ...(token && { token }), ...more });
  beforeAll(async () => {
    peer = await RpcPeer.open({ tokens });
  });
  afterAll(() => peer[Symbol.asyncDispose]());

  it.each([
    ['none', undefined],
    ['an unknown one', 'guess'],
    ['the start of a known one', 'operator-secre'],
  ])('A1: %s is refused on every kind of call, before the coordinator hears of it', async (_words, token) => {
    const client = as(token);
    const calls = [
      client.score(aRequest()),
      client.watch(aRequest()).next(),
      client.scoreMany([aRequest()]).next(),
      client.verdict('r'),
      client.status(),
    ];
    const kinds = await Promise.all(calls.map(async (call) => (await failure(call)).kind));
    expect(kinds).toEqual(Array(calls.length).fill('unauthenticated'));
    expect(peer.coordinator.calls).toHaveLength(0);
    expect(peer.server.open()).toBe(0);
  });

  it('A1: a known token passes on every kind of call', async () => {
    const client = as('operator-secret');
    const { requestId } = await client.score(aRequest({ tenant: 'anybody' }));
    expect((await client.watch(aRequest()).next()).value).toMatchObject({ kind: 'verdict' });
    expect((await client.scoreMany([aRequest()]).next()).value).toMatchObject({ kind: 'verdict' });
    expect((await client.verdict(requestId))!.verdict.requestId).toBe(requestId);
    expect((await client.status()).natsVersion).toBe('2.9.10');
  });

  it('A2: a token with tenants scores for them, and its first is the default', async () => {
    peer.coordinator.calls.length = 0;
    const client = as('trainer-secret');
    await client.score(aRequest());
    await client.score(aRequest({ tenant: 'team-b' }));
    expect(peer.coordinator.calls.map(({ input }) => input.tenant)).toEqual(['team-a', 'team-b']);
  });

  it('A2: a token with tenants may not score for others, nor see their keys, nor steer the cluster', async () => {
    peer.coordinator.calls.length = 0;
    const client = as('trainer-secret');
    const other = aRequest({ tenant: 'team-c' });
    const calls = [
      client.score(other),
      client.watch(other).next(),
      client.verdict('key', { tenant: 'team-c' }),
      client.status(),
      client.drain(),
      client.cancel('r1'),
      client.retryDead(),
    ];
    const kinds = await Promise.all(calls.map(async (call) => (await failure(call)).kind));
    expect(kinds).toEqual(Array(calls.length).fill('permission_denied'));
    const { value } = await client.scoreMany([other]).next();
    expect(value).toMatchObject({ kind: 'fault', fault: { kind: 'permission_denied' } });
    expect(peer.coordinator.calls).toHaveLength(0);
    expect(peer.cluster.orders).toEqual([]);
  });

  it('refuses tokens that would let anybody in or nobody', () => {
    expect(() => new Auth([{ name: 'x', token: '' }])).toThrow('"x" is empty');
    expect(() => new Auth([{ name: 'y', token: 's', tenants: [] }])).toThrow('"y" has an empty list');
  });
});
