// Doctor, cluster: does a coordinator answer, does every engine serve, do the processes belong together.

import { version } from '../process/version.js';
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
