// Doctor, cluster: does a coordinator answer, does every engine serve, do the processes belong together.

import { limits } from '../limits.js';
import { version } from '../process/version.js';
import { skewText } from '../queue/server-time.js';
import type { GrmClient } from '../rpc/client.js';
import { ActorState, type Actor, type Node } from '../wire/gen/grm/v1/cluster.js';
import { failureOf, type Door } from './context.js';
import type { Say } from './finding.js';
import { stateWords } from './status.js';

const askMs = 5_000;

export async function checkCluster(client: GrmClient, door: Door, say: Say, signal: AbortSignal): Promise<void> {
  let nodes: readonly Node[];
  try {
    ({ nodes } = await client.status({ deadlineMs: askMs, signal }));
  } catch (error) {
    const detail = failureOf(error, door).message.split('\n')[0] ?? '';
    say({
      check: 'coordinator',
      result: 'failed',
      detail,
      fix: 'start a cluster (`grm up`), or give its address with --address',
    });
    return;
  }
  const coordinators = nodes.filter((node) => node.role === 'coordinator').length;
  say({ check: 'coordinator', result: 'ok', detail: `${door.address} answers, ${coordinators} in the cluster` });
  checkVersions(nodes, say);
  for (const node of nodes) {
    checkNodeClock(node, say);
    checkExpired(node, say);
  }
  checkRole('grm-worker', 'GRM engines', nodes, say);
  checkRole('meta-worker', 'meta RM', nodes, say);
  if (nodes.some((node) => node.fake)) {
    const detail = 'the FAKE engine is in use: its judgements mean nothing';
    say({ check: 'engines', result: 'warning', detail, fix: 'set worker.engines and meta.engines' });
  }
}

function checkVersions(nodes: readonly Node[], say: Say): void {
  const check = 'versions';
  const versions = [...new Set([version, ...nodes.map((node) => node.version)])];
  if (versions.length === 1) say({ check, result: 'ok', detail: version });
  else {
    const detail = `mixed: this command ${version}, the cluster ${versions.slice(1).join(', ')}`;
    say({ check, result: 'warning', detail, fix: 'finish the upgrade' });
  }
}

/** A version before tells nothing of its clock. */
function checkNodeClock({ id, clockSkewMs, refuses, version: its }: Node, say: Say): void {
  const check = 'clocks';
  const fix = 'run an NTP client on its machine, and on the machines of NATS';
  if (refuses !== '') return say({ check, result: 'failed', detail: `${id} takes no work: ${refuses}`, fix });
  if (clockSkewMs === undefined) {
    const detail = `${id} does not know the time of NATS and goes by its own clock`;
    const how = `let its NATS user read the clock (docs/operations.md, Clocks)`;
    say({ check, result: 'warning', detail, fix: its === version ? how : 'finish the upgrade' });
    return;
  }
  const detail = `${id} is ${skewText(clockSkewMs)} NATS`;
  if (Math.abs(clockSkewMs) <= limits.clockSkewToldMs) say({ check, result: 'ok', detail });
  else say({ check, result: 'warning', detail, fix });
}

/** Few come too late where the work is withdrawn with its request: many mean that the node and the coordinators disagree on the time. */
function checkExpired({ id, expired, done }: Node, say: Say): void {
  if (expired < expiredMin || expired < expiredRatio * done) return;
  say({
    check: 'expired tasks',
    result: 'warning',
    detail: `${id} dropped ${expired} tasks because their time was over, and finished ${done} samples`,
    fix: 'compare the clocks above; where they agree the queue is too long for the time budgets: add engines, or raise time_budget_ms',
  });
}

const expiredMin = 10;
const expiredRatio = 0.05;

const missing = {
  'grm-worker': { result: 'failed', fix: 'start one with worker.engines set' },
  'meta-worker': { result: 'warning', fix: 'start one with meta.engines set; without it votes are naive' },
} as const;

function checkRole(role: keyof typeof missing, check: string, nodes: readonly Node[], say: Say): void {
  const workers = nodes.filter((node) => node.role === role);
  if (workers.length === 0) say({ check, detail: `no ${role} is in the cluster`, ...missing[role] });
  for (const node of workers) {
    for (const actor of node.actors) checkActor(role, check, node, actor, say);
  }
}

function checkActor(role: keyof typeof missing, check: string, node: Node, actor: Actor, say: Say): void {
  const word = stateWords[actor.state] ?? String(actor.state);
  const why = actor.stateReason === '' ? '' : `: ${actor.stateReason}`;
  switch (actor.state) {
    case ActorState.ALIVE: {
      const tested = role === 'meta-worker' ? ', self-test passed' : '';
      say({ check, result: 'ok', detail: `${actor.id} ${word} ${actor.model} (${actor.engine})${tested}` });
      return;
    }
    case ActorState.PENDING:
    case ActorState.STARTING:
      say({
        check,
        result: 'warning',
        detail: `${actor.id} ${word}${why}`,
        fix: 'wait: it starts; a model may load for minutes',
      });
      return;
    case ActorState.DRAINING:
      say({
        check,
        result: 'warning',
        detail: `${actor.id} ${word}${why}`,
        fix: `\`grm resume ${node.id}\` takes it back`,
      });
      return;
    default:
      say({ check, result: 'failed', detail: `${actor.id} ${word}${why}`, fix: engineFixes[role] });
  }
}

const engineFixes = {
  'grm-worker': 'mend what the reason names in worker.engines, or its server; the worker tries again by itself',
  'meta-worker':
    'mend what the reason names in meta.engines, or its server: a head must give raw logits; the worker tries again by itself',
} as const;
