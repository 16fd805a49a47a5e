// The users of deploy/nats/nats-server.conf: every process does its work as its own role, and what lies beyond it is refused.

import { connect, type NatsConnection } from '@nats-io/transport-node';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { packageRoot } from '../../src/process/version.js';
import { openQueue } from '../../src/queue/jetstream.js';
import { denialIn } from '../../src/queue/link.js';
import { subjects } from '../../src/queue/subjects.js';
import { cliFolder } from '../support/cli.js';
import { clientOf, startCluster } from '../support/cluster.js';
import { queueOptions } from '../support/queue-options.js';
import { aVerdict } from '../support/work-values.js';

const passwords = {
  coordinator: 'coordinator-secret',
  'grm-worker': 'worker-secret',
  'meta-worker': 'meta-secret',
  operator: 'operator-secret',
} as const;
type User = keyof typeof passwords;

const as = (user: User) => ({ GRM_NATS__USER: user, GRM_NATS__PASSWORD: passwords[user] });

const storage = { GRM_NATS__STORAGE_BYTES_MAX: String(512 * 1024 * 1024) } as const;
const answerMs = 60_000;

/** A client with a role's credentials that does what it likes. */
async function intruder(url: string, user: User): Promise<NatsConnection> {
  return connect({ servers: url, user, pass: passwords[user], inboxPrefix: `_INBOX_${user}`, reconnect: false });
}

/** The refused subject, or what came instead. */
async function ask(nc: NatsConnection, subject: string, body: unknown = ''): Promise<string> {
  try {
    const data = typeof body === 'string' ? body : JSON.stringify(body);
    const { headers, data: answer } = await nc.request(subject, data, { timeout: answerMs });
    return `answered: ${headers?.code ?? ''} ${new TextDecoder().decode(answer).slice(0, 300)}`;
  } catch (error) {
    const denied = denialIn(error);
    return denied ? `denied: ${denied.subject}` : String(error);
  }
}

async function listen(nc: NatsConnection, subject: string): Promise<string> {
  const refused = new Promise<string>((resolve) => {
    nc.subscribe(subject, {
      callback: (error) => {
        if (error) resolve(`denied: ${denialIn(error)?.subject ?? ''}`);
      },
    });
  });
  // The server answers in order: a refusal comes before this.
  return Promise.race([
    refused,
    nc
      .flush()
      .then(() => nc.flush())
      .then(() => 'open'),
  ]);
}

test('every role works with its own NATS user, and no worker reads, writes or removes what is not its work', async () => {
  await using cluster = await startCluster({ maxModelLen: 2_000_000, kvBlocks: 500_000 }, storage, {
    file: join(packageRoot, 'deploy', 'nats', 'nats-server.conf'),
    env: {
      GRM_NATS_COORDINATOR_PASSWORD: passwords.coordinator,
      GRM_NATS_WORKER_PASSWORD: passwords['grm-worker'],
      GRM_NATS_META_PASSWORD: passwords['meta-worker'],
      GRM_NATS_OPERATOR_PASSWORD: `"${passwords.operator}"`,
    },
  });
  const { url } = cluster.nats;
  const coordinator = await cluster.start('coordinator', as('coordinator'));
  const worker = await cluster.start('grm-worker', as('grm-worker'));
  const meta = await cluster.start('meta-worker', as('meta-worker'));
  using client = clientOf(coordinator);
  await cluster.serving(client, 1, 1);

  // The work: naive, ranked, and with a content and a verdict too big for a message.
  const responses = ['A good answer. quality=9', 'A bad one. quality=1'];
  const naive = await client.score({ query: 'Which?', responses, k: 4, meta: false, idempotencyKey: 'naive' });
  expect(naive).toMatchObject({ kind: 'valid', best: 0, kValid: 4, degraded: [] });
  const ranked = await client.score({ query: 'Which?', responses, k: 4, vote: 'meta_topk', meta: true });
  expect(ranked).toMatchObject({ kind: 'valid', best: 0, kValid: 4, kKept: 2, degraded: [] });
  const big = [`${responses[0]!} ${'a'.repeat(900_000)}`, responses[1]!];
  const weighty = await client.score({ query: 'Which?', responses: big, k: 2, meta: false });
  expect(weighty).toMatchObject({ kind: 'valid', kValid: 2 });
  expect((await client.verdict('naive'))?.verdict).toEqual({ ...naive, stored: true });

  // Orders travel over NATS, and answers back.
  const { nodes } = await client.status();
  expect(nodes.map(({ role }) => role).sort()).toEqual(['coordinator', 'grm-worker', 'meta-worker']);
  expect([...(await client.drain([worker.node]))]).toEqual([worker.node]);
  expect([...(await client.resume([worker.node]))]).toEqual([worker.node]);

  await using cli = await cliFolder({
    ...storage,
    ...as('operator'),
    GRM_ADDRESS: coordinator.grpc,
    GRM_NATS__SERVERS: JSON.stringify([url]),
  });
  const doctor = await cli.run(['doctor', '--json']);
  expect(doctor.out).toContain('all there, as configured');
  expect(doctor.out).not.toMatch(/does not let|refuses/);
  for (const process of [coordinator, worker, meta]) {
    expect(process.log()).not.toMatch(/does not let this user|ermissions [Vv]iolation/);
  }

  // What a worker's credentials are refused.
  const id = naive.requestId;
  for (const user of ['grm-worker', 'meta-worker'] as const) {
    const nc = await intruder(url, user);
    const other = user === 'grm-worker' ? 'meta-worker' : 'grm-worker';
    const forbidden: readonly (readonly [string, unknown?])[] = [
      // Results of other roles, and work.
      [subjects.verdict('forged')],
      [subjects.request('forged')],
      [subjects.append(user === 'grm-worker' ? 'mres' : 'res', id, 'l-0', 0)],
      [subjects.voided(user === 'grm-worker' ? 'res' : 'mres', id, 'l-0', 0)],
      [user === 'grm-worker' ? subjects.metaTask('meta', 'rl', id, 0) : subjects.shard('grm', 'rl', id, 0)],
      [subjects.template('forged')],
      [subjects.blobEntry('content.forged.0')],
      [subjects.blobChunk('content.forged.0', 0)],
      [`grm.out.fin.${id}.verdict`],
      // Leases of others, and orders.
      [subjects.lease(coordinator.node)],
      [subjects.lease(`${other}-0000000000`)],
      [subjects.node(coordinator.node)],
      [subjects.node(worker.node)],
      [subjects.node(meta.node)],
      [subjects.topic('cancel')],
      // Streams: nobody's whole content, and nothing removed.
      ...['GRM_REQ', 'GRM_RES', 'GRM_FIN', 'GRM_WORK', 'OBJ_GRM_BLOBS'].flatMap((stream): [string, unknown?][] => [
        [`$JS.API.CONSUMER.CREATE.${stream}`, { stream_name: stream, config: { ack_policy: 'none' } }],
        [
          `$JS.API.CONSUMER.CREATE.${stream}.mine`,
          { stream_name: stream, config: { name: 'mine', ack_policy: 'none' } },
        ],
        [`$JS.API.CONSUMER.DURABLE.CREATE.${stream}.mine`, {}],
        [`$JS.API.CONSUMER.MSG.NEXT.${stream}.mine`],
        [`$JS.API.STREAM.MSG.GET.${stream}`, { seq: 1 }],
        [`$JS.API.DIRECT.GET.${stream}`, { seq: 1 }],
        [`$JS.API.STREAM.INFO.${stream}`, { subjects_filter: '>' }],
        [`$JS.API.STREAM.MSG.DELETE.${stream}`, { seq: 1 }],
        [`$JS.API.STREAM.PURGE.${stream}`, {}],
        [`$JS.API.STREAM.DELETE.${stream}`],
        [`$JS.API.STREAM.UPDATE.${stream}`, {}],
        [`$JS.API.STREAM.SNAPSHOT.${stream}`, {}],
      ]),
      ['$JS.API.STREAM.NAMES'],
      ['$JS.API.STREAM.CREATE.MINE', { name: 'MINE', subjects: ['mine'] }],
      [`$JS.API.DIRECT.GET.GRM_FIN.${subjects.verdict(id)}`],
      ['$JS.API.CONSUMER.DELETE.GRM_WORK.grm-rl'],
      [
        user === 'grm-worker'
          ? '$JS.API.CONSUMER.MSG.NEXT.GRM_META.meta-rl'
          : '$JS.API.CONSUMER.MSG.NEXT.GRM_WORK.grm-rl',
      ],
    ];
    for (const [subject, body] of forbidden) expect(await ask(nc, subject, body), user).toBe(`denied: ${subject}`);
    for (const subject of [
      '>',
      'grm.>',
      'grm.out.*.*.*',
      `grm.out.*.${id}.*`,
      subjects.node(coordinator.node),
      '_INBOX_coordinator.>',
      `_INBOX_${other}.>`,
      '_INBOX.>',
      '$KV.>',
      '$JS.API.>',
    ]) {
      expect(await listen(nc, subject), `${user} subscribes to ${subject}`).toBe(`denied: ${subject}`);
    }
    // What it may: read what it can name.
    expect(await ask(nc, `$JS.API.DIRECT.GET.GRM_REQ.${subjects.request(id)}`)).toMatch(/^answered: 0? /);
    await nc.close();
  }

  // The same through our own code: told at once, as what it is; and with replicas a miss needs no right to read the whole stream.
  const queue = await openQueue(
    queueOptions(cluster.nats, {
      name: 'grm-worker',
      user: 'grm-worker',
      password: passwords['grm-worker'],
      own: false,
      looksAt: 'consumers',
      pools: { grm: ['grm'], meta: [] },
      replicas: 3,
      topologyWaitMs: 60_000,
    }),
  );
  const denied = { fault: { kind: 'permission_denied', message: expect.stringContaining('grm.fin.forged') as string } };
  await expect(queue.ledger.putVerdict(aVerdict('forged'))).rejects.toMatchObject(denied);
  await expect(queue.ledger.reopen(id, new Map())).rejects.toMatchObject({ fault: { kind: 'permission_denied' } });
  expect(await queue.ledger.record('absent')).toBeUndefined();
  expect((await queue.ledger.record(id))?.requestId).toBe(id);
  await queue.close();

  // The operator looks, and that is all; nobody deletes a stream.
  const operator = await connect({
    servers: url,
    user: 'operator',
    pass: passwords.operator,
    inboxPrefix: '_INBOX_doctor',
  });
  for (const [subject, body] of [
    ['$JS.API.STREAM.DELETE.GRM_REQ', ''],
    ['$JS.API.STREAM.PURGE.GRM_REQ', {}],
    ['$JS.API.STREAM.MSG.GET.GRM_REQ', { seq: 1 }],
    [subjects.verdict('forged'), ''],
    [subjects.node(worker.node), ''],
    [subjects.topic('cancel'), ''],
  ] as const) {
    expect(await ask(operator, subject, body)).toBe(`denied: ${subject}`);
  }
  await operator.close();
  const owner = await intruder(url, 'coordinator');
  for (const subject of [
    '$JS.API.STREAM.DELETE.GRM_REQ',
    subjects.append('res', id, 'l-0', 0),
    subjects.append('mres', id, 'l-0', 0),
    '$JS.API.CONSUMER.MSG.NEXT.GRM_WORK.grm-rl',
  ]) {
    expect(await ask(owner, subject)).toBe(`denied: ${subject}`);
  }
  await owner.close();

  // Wrong passwords and wrong users are told in words, and end the process.
  const wrong = cluster.start('grm-worker', { ...as('grm-worker'), GRM_NATS__PASSWORD: 'guessed' });
  await expect(wrong).rejects.toThrow(/NATS at .* refuses these credentials/);
  await expect(wrong).rejects.not.toThrow(/guessed/);
  await expect(cluster.start('coordinator', as('grm-worker'))).rejects.toThrow(
    /NATS does not let this user (publish|subscribe) to .*: is it the user of this role\?/,
  );
  await expect(cluster.start('meta-worker', as('grm-worker'))).rejects.toThrow(/NATS does not let this user/);

  // And all of it has changed nothing.
  expect((await client.verdict('naive'))?.verdict).toEqual({ ...naive, stored: true });
  const after = await client.score({ query: 'Which, after all that?', responses, k: 4, vote: 'meta_topk', meta: true });
  expect(after).toMatchObject({ kind: 'valid', best: 0, kValid: 4, degraded: [] });
}, 240_000);
