// What `grm status` and `grm doctor` say of the nodes' clocks, and of work that came too late.

import { expect, test } from 'vitest';
import { checkCluster } from '../../../src/cli/doctor-cluster.js';
import type { Finding } from '../../../src/cli/finding.js';
import { statusText } from '../../../src/cli/status.js';
import { version } from '../../../src/process/version.js';
import type { ClusterStatus, GrmClient } from '../../../src/rpc/client.js';
import { someStatus } from '../../support/rpc-peer.js';

type Node = ClusterStatus['nodes'][number];

function cluster(...nodes: readonly Partial<Node>[]): ClusterStatus {
  const [node] = someStatus.nodes;
  const well = { version, clockSkewMs: 0, refuses: '', expired: 0, done: 1_000 };
  return { ...someStatus, nodes: nodes.map((more) => ({ ...node!, ...well, ...more })) };
}

async function findings(found: ClusterStatus, check: string): Promise<readonly Finding[]> {
  const all: Finding[] = [];
  const client: Pick<GrmClient, 'status'> = { status: () => Promise.resolve(found) };
  const door = { address: 'somewhere:1', own: false };
  const say = (finding: Finding) => void all.push(finding);
  await checkCluster(client as GrmClient, door, say, new AbortController().signal);
  return all.filter((finding) => finding.check === check);
}

const off = "this machine's clock is 2.0 days ahead of NATS's";
const nodes = cluster(
  { id: 'right', clockSkewMs: 900 },
  { id: 'ahead', clockSkewMs: 30_000 },
  { id: 'behind', clockSkewMs: -3_600_000 },
  { id: 'refuses', clockSkewMs: 172_800_000, refuses: off },
  { id: 'unknown', clockSkewMs: undefined },
);

test('doctor tells every clock, warns above a second, and fails where work is refused', async () => {
  const told = await findings(nodes, 'clocks');
  expect(told.map(({ result, detail }) => `${result}: ${detail}`)).toEqual([
    'ok: right is 900 ms ahead of NATS',
    'warning: ahead is 30.0 s ahead of NATS',
    'warning: behind is 60.0 min behind NATS',
    `failed: refuses takes no work: ${off}`,
    'warning: unknown does not know the time of NATS and goes by its own clock',
  ]);
  const older = cluster({ version: '0.0.9', clockSkewMs: undefined });
  expect(await findings(older, 'clocks')).toMatchObject([{ result: 'warning', fix: 'finish the upgrade' }]);
});

test('doctor warns of a worker that drops much of its work as expired, and not of one that drops a little', async () => {
  const check = 'expired tasks';
  expect(await findings(cluster({ expired: 9, done: 0 }, { expired: 49, done: 1_000 }), check)).toEqual([]);
  const lost = cluster({ id: 'late', expired: 37, done: 3 });
  expect(await findings(lost, check)).toMatchObject([
    { result: 'warning', detail: 'late dropped 37 tasks because their time was over, and finished 3 samples' },
  ]);
  expect(statusText(lost)).toContain('late dropped 37 tasks because their time was over');
});

test('status shows each clock and why work is refused, and reckons with the time of the cluster', () => {
  const text = statusText(nodes);
  for (const words of ['+0.9 s', '+30.0 s', '-3600.0 s', 'unknown', `refuses takes no work: ${off}`]) {
    expect(text).toContain(words);
  }
  // Started a minute before the answer, whatever this machine's clock says.
  expect(text).toContain('60 s');
});
