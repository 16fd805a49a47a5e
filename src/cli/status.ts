// grm status: nodes, actors, GPUs, queues and rates, as `ray status` shows a cluster.

import pc from 'picocolors';
import type { ClusterStatus, GrmClient } from '../rpc/client.js';
import { ActorState, type Actor, type Node } from '../wire/gen/grm/v1/cluster.js';
import { table } from './render.js';

const stateWords: Readonly<Record<number, string>> = Object.fromEntries(
  Object.entries(ActorState).map(([word, number]) => [number, word.toLowerCase()]),
);

const watchEveryMs = 1_000;

export async function status(
  client: GrmClient,
  options: { readonly json: boolean; readonly watch: boolean; readonly signal: AbortSignal },
): Promise<void> {
  for (;;) {
    const found = await client.status({ deadlineMs: 10_000 });
    const text = options.json ? `${JSON.stringify(statusJson(found))}\n` : `${statusText(found)}\n`;
    // Cursor home and clear, so that a watched screen does not scroll.
    if (options.watch && !options.json && process.stdout.isTTY) process.stdout.write('\u001b[H\u001b[2J');
    process.stdout.write(text);
    if (!options.watch) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, watchEveryMs);
      options.signal.addEventListener('abort', () => (clearTimeout(timer), resolve()), { once: true });
    });
    if (options.signal.aborted) return;
  }
}

export function statusText(found: ClusterStatus): string {
  const { nodes } = found;
  const workers = nodes.filter((node) => node.role !== 'coordinator');
  const sum = (of: (node: Node) => number): number => workers.reduce((total, node) => total + of(node), 0);
  const lines = [
    `${pc.bold('cluster')}  ${nodes.length} nodes, ${sum((n) => n.gpus)} GPUs, ${sum((n) => n.running)} of ${sum((n) => n.slots)} slots busy, ${sum((n) => n.ratePerSecond).toFixed(1)}/s, ${found.requestsInFlight} requests in flight, NATS ${found.natsVersion}`,
  ];
  if (nodes.some((node) => node.fake)) lines.push(pc.bold(pc.red('FAKE ENGINE in use: its judgements mean nothing')));
  lines.push('', pc.bold('nodes'));
  lines.push(
    table(
      ['node', 'role', 'pool', 'host', 'pid', 'GPUs', 'slots', 'busy', 'done', 'per s', 'up', 'heartbeat', ''],
      nodes.map((node) => [
        node.id,
        node.role,
        node.pool,
        node.host,
        node.pid,
        node.gpus,
        node.role === 'coordinator' ? '-' : node.slots,
        node.running,
        node.role === 'coordinator' ? '-' : node.done,
        node.role === 'coordinator' ? '-' : node.ratePerSecond.toFixed(1),
        ageText(Date.now() - node.startedAtMs),
        `${(node.heartbeatAgeMs / 1_000).toFixed(1)} s ago`,
        node.draining ? pc.yellow('draining') : node.address,
      ]),
    ),
  );
  const actors = nodes.flatMap((node) => node.actors);
  if (actors.length > 0) {
    lines.push('', pc.bold('actors'));
    lines.push(
      table(
        ['actor', 'kind', 'state', 'restarts', 'GPUs', 'slots', 'busy', 'model', 'engine'],
        actors.map((actor) => [
          actor.id,
          actor.kind,
          stateText(actor),
          restartText(actor),
          actor.gpus.join(',') || '-',
          actor.concurrencyMax,
          actor.running,
          actor.model,
          actor.engine,
        ]),
      ),
    );
  }
  lines.push('', pc.bold('queues'));
  lines.push(
    table(
      ['queue', 'stream', 'pending', 'in flight', 'redelivered'],
      found.queues.map((queue) => [queue.name, queue.stream, queue.pending, queue.inFlight, queue.redelivered]),
    ),
  );
  if (found.dead > 0) lines.push('', pc.red(`${found.dead} quarantined shards: \`grm dead list\``));
  for (const drift of found.drift) lines.push(pc.yellow(`drift: ${drift}`));
  return lines.join('\n');
}

/** The answer with words for enum numbers. */
export function statusJson(found: ClusterStatus): unknown {
  return {
    ...found,
    nodes: found.nodes.map((node) => ({
      ...node,
      actors: node.actors.map((actor) => ({ ...actor, state: stateWords[actor.state] })),
    })),
  };
}

function stateText(actor: Actor): string {
  const word = stateWords[actor.state] ?? String(actor.state);
  const reason = actor.stateReason ? `: ${actor.stateReason.split('\n')[0]?.slice(0, 60) ?? ''}` : '';
  if (actor.state === ActorState.ALIVE) return pc.green(word);
  return actor.state === ActorState.DEAD || actor.state === ActorState.RESTARTING
    ? pc.red(`${word}${reason}`)
    : pc.yellow(`${word}${reason}`);
}

function restartText({ restarts, restartsMax }: Actor): string {
  return restartsMax < 0 ? String(restarts) : `${restarts}/${restartsMax}`;
}

function ageText(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7_200 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3_600)} h`;
}
