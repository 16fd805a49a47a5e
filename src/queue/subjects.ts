// Subjects: the one place that spells NATS subjects, stream names and consumer names.
//
// Ids, pools and node names are single tokens of [A-Za-z0-9_-], so that no caller can widen a subject or a purge filter.

import type { Class } from '../grm/query.js';
import type { Stage } from '../work/shard.js';

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
  sample: (requestId: string, sample: number) => `grm.res.${token(requestId, 'request')}.${index(sample, 'sample')}`,
  meta: (requestId: string, sample: number) => `grm.mres.${token(requestId, 'request')}.${index(sample, 'sample')}`,
  verdict: (requestId: string) => `grm.fin.${token(requestId, 'request')}`,
  shard: (pool: string, cls: Class, requestId: string, shard: number) =>
    `grm.work.${token(pool, 'pool')}.${cls}.${token(requestId, 'request')}.${index(shard, 'shard')}`,
  metaTask: (pool: string, cls: Class, requestId: string, sample: number) =>
    `grm.meta.${token(pool, 'pool')}.${cls}.${token(requestId, 'request')}.${index(sample, 'sample')}`,
  dead: (requestId: string, stage: Stage, unit: number) =>
    `grm.dead.${token(requestId, 'request')}.${stage}.${index(unit, 'unit')}`,
  /** The object store's own layout: an entry by the name's base64url with padding, and the chunks by an id that the entry holds. */
  blobEntry: (name: string) => `$O.GRM_BLOBS.M.${base64Url(name)}`,
  blobChunks: (nuid: string) => `$O.GRM_BLOBS.C.${token(nuid, 'chunks')}`,
  template: (hash: string) => `$KV.GRM_TEMPLATES.${token(hash, 'template')}`,
  lease: (name: string) => `$KV.GRM_CLUSTER.lease.${token(name, 'node')}`,
  clock: (name: string) => `$KV.GRM_CLUSTER.clock.${token(name, 'connection')}`,
  node: (name: string) => `grm.ctl.node.${token(name, 'node')}`,
  topic: (topic: string) => `grm.ctl.topic.${token(topic, 'topic')}`,
  /** Where GRM_RES and GRM_FIN repeat what they have stored: `grm.out.<res|mres|fin>.<request>.<sample|verdict>`. */
  outSample: (requestId: string, sample: number) =>
    `grm.out.res.${token(requestId, 'request')}.${index(sample, 'sample')}`,
  outMeta: (requestId: string, sample: number) =>
    `grm.out.mres.${token(requestId, 'request')}.${index(sample, 'sample')}`,
} as const;

export const filters = {
  /** All that GRM_RES and GRM_FIN repeat. */
  out: 'grm.out.*.*.*',
  requests: 'grm.req.>',
  verdicts: 'grm.fin.>',
  blobs: '$O.GRM_BLOBS.M.>',
  samples: (requestId: string) => `grm.res.${token(requestId, 'request')}.*`,
  leases: '$KV.GRM_CLUSTER.lease.>',
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

/** `grm.work.<pool>.<class>.<request>.<unit>`, the same for grm.meta; undefined when somebody else's message got in. */
export function parseWorkSubject(subject: string): { pool: string; class: string; requestId: string } | undefined {
  const tokens = subject.split('.');
  if (tokens.length !== 6) return undefined;
  return { pool: tokens[2]!, class: tokens[3]!, requestId: tokens[4]! };
}
