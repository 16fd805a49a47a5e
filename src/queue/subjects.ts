// Subjects: the one place that spells NATS subjects, stream names and consumer names.
//
// Ids, pools and node names are single tokens of [A-Za-z0-9_-], so that no caller can widen a subject or a purge filter.
//
// Permissions are given by subject (deploy/nats/nats-server.conf), and NATS has wildcards for whole tokens only. So what a role may touch
// must be told by tokens: the subjects of a node hold its role, and everything that a worker reads is asked for by its own subject.

import type { Class } from '../grm/query.js';
import type { Stage } from '../work/shard.js';

/** Samples, and the meta rewards of samples. */
export type LaneKind = 'res' | 'mres';

const tokenPattern = /^[A-Za-z0-9_-]{1,128}$/;

/** Returns `token` when it may stand in a subject; throws otherwise, because an unsafe id here is a bug at the door. */
export function token(value: string, what: string): string {
  if (!tokenPattern.test(value)) throw new RangeError(`${what} ${JSON.stringify(value.slice(0, 80))} is not a token`);
  return value;
}

function index(value: number, what: string): number {
  if (!Number.isInteger(value) || value < 0) throw new RangeError(`${what} ${value} is not an index`);
  return value;
}

function base64Url(name: string): string {
  const text = Buffer.from(name).toString('base64url');
  return text.padEnd(Math.ceil(text.length / 4) * 4, '=');
}

export const subjects = {
  request: (requestId: string) => `grm.req.${token(requestId, 'request')}`,
  /** It is taken up again, under a name of its own each time. */
  reopened: (requestId: string, time: string) => `grm.reopen.${token(requestId, 'request')}.${token(time, 'time')}`,
  /** One append to a lane of samples (`res`) or of meta rewards (`mres`). */
  append: (kind: LaneKind, requestId: string, lane: string, append: number) =>
    `grm.${kind}.${token(requestId, 'request')}.${token(lane, 'lane')}-${index(append, 'append')}`,
  /** Where it stands that the failures in an append count no more. */
  voided: (kind: LaneKind, requestId: string, lane: string, append: number) =>
    `grm.void.${kind}.${token(requestId, 'request')}.${token(lane, 'lane')}-${index(append, 'append')}`,
  verdict: (requestId: string) => `grm.fin.${token(requestId, 'request')}`,
  shard: (pool: string, cls: Class, requestId: string, shard: number) =>
    `grm.work.${token(pool, 'pool')}.${cls}.${token(requestId, 'request')}.${index(shard, 'shard')}`,
  /** `sample`: the lowest index of the task. */
  metaTask: (pool: string, cls: Class, requestId: string, sample: number) =>
    `grm.meta.${token(pool, 'pool')}.${cls}.${token(requestId, 'request')}.${index(sample, 'sample')}`,
  dead: (requestId: string, stage: Stage, unit: number) =>
    `grm.dead.${token(requestId, 'request')}.${stage}.${index(unit, 'unit')}`,
  /** One subject per chunk, unlike NATS object stores: so that each is read by its name, by whoever may know the name and nobody else. */
  blobEntry: (name: string) => `$O.GRM_BLOBS.M.${base64Url(name)}`,
  blobChunk: (name: string, at: number) => `$O.GRM_BLOBS.C.${base64Url(name)}.${index(at, 'chunk')}`,
  template: (hash: string) => `$KV.GRM_TEMPLATES.${token(hash, 'template')}`,
  /** How far all requests are finished: it stands with the templates, where what coordinators share is kept. */
  checkpoint: '$KV.GRM_TEMPLATES.checkpoint',
  /** Beside the templates, because their bucket keeps what nobody renews. No template's hash begins so. */
  kept: (name: string) => `$KV.GRM_TEMPLATES.kept-${token(name, 'name')}`,
  lease: (name: string) => `$KV.GRM_CLUSTER.lease.${roleOf(name)}.${token(name, 'node')}`,
  clock: (name: string) => `$KV.GRM_CLUSTER.clock.${token(name, 'connection')}`,
  node: (name: string) => `grm.ctl.node.${roleOf(name)}.${token(name, 'node')}`,
  topic: (topic: string) => `grm.ctl.topic.${token(topic, 'topic')}`,
  /**
   * Where a worker repeats what it found stored. GRM_RES and GRM_FIN repeat what they have stored on `grm.out.<res|mres>.<request>.<lane>-<append>`
   * and `grm.out.fin.<request>.verdict`.
   */
  again: (kind: LaneKind, requestId: string, lane: string) =>
    `grm.out.${kind}.${token(requestId, 'request')}.${token(lane, 'lane')}-again`,
} as const;

export const filters = {
  /** All that GRM_RES and GRM_FIN repeat. */
  out: 'grm.out.*.*.*',
  requests: 'grm.req.>',
  verdicts: 'grm.fin.>',
  blobs: '$O.GRM_BLOBS.M.>',
  samples: (requestId: string) => `grm.res.${token(requestId, 'request')}.*`,
  leases: '$KV.GRM_CLUSTER.lease.*.*',
  blobChunks: (name: string) => `$O.GRM_BLOBS.C.${base64Url(name)}.*`,
  /** All tasks of one consumer. */
  work: (stage: Stage, pool: string, cls: Class) =>
    `${stage === 'sample' ? 'grm.work' : 'grm.meta'}.${token(pool, 'pool')}.${cls}.*.*`,
  /** All tasks of one request, in every pool and class. */
  withdraw: (stage: Stage, requestId: string) =>
    `${stage === 'sample' ? 'grm.work' : 'grm.meta'}.*.*.${token(requestId, 'request')}.*`,
} as const;

export const workStream = { sample: 'GRM_WORK', meta: 'GRM_META' } as const satisfies Record<Stage, string>;

/** The durable consumer of one pool and class, e.g. "grm-rl". */
export function consumerName(pool: string, cls: Class): string {
  return `${token(pool, 'pool')}-${cls}`;
}

/** The role of a node by its name, "<role>-<characters>": "grm-worker" of "grm-worker-0a1b2c3d4e". */
export function roleOf(name: string): string {
  const dash = name.lastIndexOf('-');
  return token(dash > 0 ? name.slice(0, dash) : name, 'role');
}

/** The node whose lease stands there; undefined when a node wrote under another role than its name's. */
export function parseLeaseSubject(subject: string): string | undefined {
  const [, , , role, name = ''] = subject.split('.');
  return tokenPattern.test(name) && roleOf(name) === role ? name : undefined;
}

/** The request of a message in GRM_REQ: `grm.req.<request>`, or `grm.reopen.<request>.<time>`. */
export function parseRequestSubject(subject: string): { requestId: string; isReopened: boolean } | undefined {
  const [, kind, requestId = '', ...more] = subject.split('.');
  const isReopened = kind === 'reopen';
  if ((kind !== 'req' && !isReopened) || more.length !== (isReopened ? 1 : 0)) return undefined;
  return tokenPattern.test(requestId) ? { requestId, isReopened } : undefined;
}

/** The lane in the last token of what is said of a lane; undefined when a version before lanes wrote it. */
export function parseLane(unit: string): string | undefined {
  const end = unit.lastIndexOf('-');
  return end > 0 ? unit.slice(0, end) : undefined;
}

/** `grm.work.<pool>.<class>.<request>.<unit>`, the same for grm.meta; undefined when somebody else's message got in. */
export function parseWorkSubject(subject: string): { pool: string; class: string; requestId: string } | undefined {
  const tokens = subject.split('.');
  if (tokens.length !== 6) return undefined;
  return { pool: tokens[2]!, class: tokens[3]!, requestId: tokens[4]! };
}
