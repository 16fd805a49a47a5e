// Cluster: what ClusterService needs of the process that serves it, and its handlers.

import type { Fault } from '../fault.js';
import { limits } from '../limits.js';
import type { DeadLetter, DeadPage } from '../work/shard.js';
import type { ClusterServiceServer, DeadShard, GetStatusResponse } from '../wire/gen/grm/v1/cluster.js';
import { unary, type Answer, type RpcContext } from './calls.js';
import { invalid } from './request.js';

/** The cluster as status shows it: nodes come from leases, which hold the same messages. */
export type ClusterStatus = GetStatusResponse;

/** Control over the cluster's nodes. A rejection is a bug, or a FaultError where NATS is away. */
export interface ClusterControl {
  status(): Promise<ClusterStatus>;
  /** Empty = every worker. Resolves to the nodes that took the order. */
  drain(nodes: readonly string[]): Promise<readonly string[]>;
  /** As drain. */
  resume(nodes: readonly string[]): Promise<readonly string[]>;
  /** `slots` is 1..limits.slotsMax. The answer holds the slots now in force, or why the node did not take them. */
  setSlots(node: string, slots: number): Promise<Answer<number>>;
  /** Newest first, at most `limit`, from where an earlier page ended. */
  listDead(limit: number, before: number | undefined): Promise<DeadPage>;
}

const deadListDefault = 100;
const namesMax = 1_000;
const nameCharsMax = 256;

export function clusterHandlers(context: RpcContext): ClusterServiceServer {
  const { cluster, coordinator } = context;
  return {
    getStatus: unary(context, 'rpc GetStatus', async () => ok(await cluster.status())),
    drain: unary(context, 'rpc Drain', async ({ request }) => {
      return wrongNames('nodes', request.nodes) ?? ok({ nodes: [...(await cluster.drain(request.nodes))] });
    }),
    resume: unary(context, 'rpc Resume', async ({ request }) => {
      return wrongNames('nodes', request.nodes) ?? ok({ nodes: [...(await cluster.resume(request.nodes))] });
    }),
    setSlots: unary(context, 'rpc SetSlots', async ({ request: { node, slots } }) => {
      const violations = nameViolations('node', [node]);
      if (slots < 1 || slots > limits.slotsMax) {
        violations.push({ field: 'slots', description: `came ${slots}, expected 1..${limits.slotsMax}` });
      }
      if (violations.length > 0) return refuse(invalid(violations));
      const answer = await cluster.setSlots(node, slots);
      return answer.kind === 'ok' ? ok({ slots: answer.value }) : answer;
    }),
    cancelRequest: unary(context, 'rpc CancelRequest', async ({ request: { requestId } }) => {
      return wrongNames('request_id', [requestId]) ?? ok({ cancelled: await coordinator.cancel(requestId) });
    }),
    listDead: unary(context, 'rpc ListDead', async ({ request: { limit, before } }) => {
      if (limit > limits.deadListMax) {
        const description = `came ${limit}, expected at most ${limits.deadListMax}`;
        return refuse(invalid([{ field: 'limit', description }]));
      }
      const { letters, next = 0 } = await cluster.listDead(limit || deadListDefault, before || undefined);
      return ok({ shards: letters.map(deadShard), next });
    }),
    retryDead: unary(context, 'rpc RetryDead', async ({ request: { ids } }) => {
      const wrong = wrongNames('ids', ids);
      if (wrong) return wrong;
      const { requestIds, shards, refused, refusedCount } = await coordinator.retryDead(ids);
      return ok({ requestIds: [...requestIds], shards, refused: Object.fromEntries(refused), refusedCount });
    }),
  };
}

function deadShard(letter: DeadLetter): DeadShard {
  const { requestId, stage, unit, samples, reason, deliveries, worker, diedAtMs } = letter;
  const id = `${requestId}.${stage}.${unit}`;
  return { id, requestId, samples: [...samples], reason, deliveries, worker, diedAtMs, stage };
}

function ok<T>(value: T): Answer<T> {
  return { kind: 'ok', value };
}

function refuse(it: Fault): { readonly kind: 'fault'; readonly fault: Fault } {
  return { kind: 'fault', fault: it };
}

function wrongNames(field: string, names: readonly string[]): ReturnType<typeof refuse> | undefined {
  const violations = nameViolations(field, names);
  return violations.length > 0 ? refuse(invalid(violations)) : undefined;
}

function nameViolations(field: string, names: readonly string[]): { field: string; description: string }[] {
  if (names.length > namesMax) return [{ field, description: `came ${names.length}, expected at most ${namesMax}` }];
  const wrong = names.filter((name) => name.length === 0 || name.length > nameCharsMax);
  return wrong
    .slice(0, limits.violationsMax)
    .map((name) => ({ field, description: `came a name of ${name.length} characters, expected 1..${nameCharsMax}` }));
}
