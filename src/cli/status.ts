// grm status: nodes, actors, GPUs, queues and rates, as `ray status` shows a cluster.

import { setTimeout as sleep } from 'node:timers/promises';
import { limits } from '../limits.js';
import { exitCodes, type ExitCode } from '../process/run.js';
import type { ClusterStatus } from '../rpc/client.js';
import { ActorState, type Actor, type Node } from '../wire/gen/grm/v1/cluster.js';
import { failureOf } from './context.js';
import { paint } from './paint.js';
import { oneLine } from './printable.js';
import { table, type Cell } from './render.js';
import { snakeKeys } from './snake.js';
import { failureText, type Cluster, type Session } from './session.js';

export const stateWords: Readonly<Record<number, string>> = Object.fromEntries(
  Object.entries(ActorState).map(([word, number]) => [number, word.toLowerCase()]),
);

const watchEveryMs = 1_000;
const askMs = 10_000;

/** The janitor keeps the streams below it while there is something that may go. */
export const streamFullRatio = 0.8;

export interface StatusFlags {
  readonly watch?: boolean;
}

/** Shows the cluster once, or every second until Ctrl-C. A watcher outlives a cluster that is away for a while. */
export async function status(
  session: Session,
  { client, door, signal }: Cluster,
  flags: StatusFlags,
): Promise<ExitCode> {
  if (flags.watch !== true) {
    const found = await client.status({ deadlineMs: askMs, signal });
    session.show(statusJson(found), () => statusText(found));
    return exitCodes.ok;
  }
  if (process.stdout.isTTY && !session.json) process.stdout.write('\u001b[2J');
  while (!signal.aborted) {
    const shown = await client.status({ deadlineMs: askMs, signal }).then(
      (found) => ({ json: statusJson(found), text: statusText(found) }),
      (error: unknown) => {
        const { message } = failureOf(error, door);
        return { json: { event: 'error', message }, text: failureText(message) };
      },
    );
    // A fault of Ctrl-C is no news. TypeScript takes a signal for what it was at the loop's head.
    if (signal.aborted as boolean) break;
    if (session.json) session.show(shown.json, () => '');
    else process.stdout.write(screen(shown.text));
    await sleep(watchEveryMs, undefined, { signal }).catch(() => undefined);
  }
  return exitCodes.ok;
}

/** On a terminal each look takes the place of the last, without a blink; in a pipe each has its time. */
function screen(text: string): string {
  const time = new Date().toISOString();
  if (!process.stdout.isTTY) return `${time}\n${text}\n\n`;
  const lines = [paint.dim(`${time}  Ctrl-C ends`), '', ...text.split('\n')];
  // One row is the cursor's. More lines would scroll, and the next look would not find its place.
  const rows = (process.stdout.rows || 24) - 1;
  const shown = lines.length <= rows ? lines : lines.slice(0, rows - 1);
  if (shown.length < lines.length)
    shown.push(paint.dim(`${lines.length - shown.length} more lines in a taller window`));
  // No wrapping; home; each line clears what stood behind it; the last one what stood below.
  return `\u001b[?7l\u001b[H${shown.map((line) => `${line}\u001b[K\n`).join('')}\u001b[J\u001b[?7h`;
}

export function statusText(found: ClusterStatus): string {
  const { nodes } = found;
  const workers = nodes.filter((node) => node.role !== 'coordinator');
  const sum = (of: (node: Node) => number): number => workers.reduce((total, node) => total + of(node), 0);
  const lines = [
    `${paint.bold('cluster')}  ${nodes.length} nodes, ${sum((n) => n.gpus)} GPUs, ${sum((n) => n.running)} of ${sum((n) => n.slots)} slots busy, ${sum((n) => n.ratePerSecond).toFixed(1)}/s, ${found.requestsInFlight} requests in flight, NATS ${oneLine(found.natsVersion, 40)}`,
  ];
  if (nodes.some((node) => node.fake))
    lines.push(paint.bold(paint.red('FAKE ENGINE in use: its judgements mean nothing')));
  lines.push('', paint.bold('nodes'));
  lines.push(
    table(
      ['node', 'role', 'pool', 'host', 'pid', 'GPUs', 'slots', 'busy', 'done', 'per s', 'up', 'heartbeat', 'clock', ''],
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
        // The cluster's time, and not this machine's: its clock may be off.
        ageText((found.nowMs || Date.now()) - node.startedAtMs),
        `${(node.heartbeatAgeMs / 1_000).toFixed(1)} s ago`,
        clockCell(node),
        node.draining ? { painted: paint.yellow('draining') } : node.address,
      ]),
    ),
  );
  lines.push(
    ...clockLines(nodes)
      .map((line) => oneLine(line, 400))
      .map((line) => paint.yellow(line)),
  );
  lines.push('', paint.bold('judges'));
  lines.push(
    table(
      ['pool', 'role', 'model', 'id'],
      found.judges.flatMap(({ pool, role, models }) =>
        models.length === 0 ? [[pool, role, 'not known', '']] : models.map(({ id, model }) => [pool, role, model, id]),
      ),
    ),
  );
  const actors = nodes.flatMap((node) => node.actors);
  if (actors.length > 0) {
    lines.push('', paint.bold('actors'));
    lines.push(
      table(
        ['actor', 'kind', 'state', 'restarts', 'GPUs', 'slots', 'busy', 'model', 'engine'],
        actors.map((actor) => [
          actor.id,
          actor.kind,
          stateCell(actor),
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
  lines.push('', paint.bold('queues'));
  lines.push(
    table(
      ['queue', 'stream', 'pending', 'in flight', 'redelivered'],
      found.queues.map((queue) => [queue.name, queue.stream, queue.pending, queue.inFlight, queue.redelivered]),
    ),
  );
  lines.push(...streamLines(found));
  for (const part of found.unread) lines.push('', paint.red(oneLine(`not read: ${part}`, 400)));
  if (found.dead > 0) lines.push('', paint.red(`${found.dead} quarantined shards: \`grm dead list\``));
  for (const drift of found.drift) lines.push(paint.yellow(oneLine(`drift: ${drift}`, 400)));
  return lines.join('\n');
}

/** Streams that need somebody's eyes: in trouble, or filling up. */
function streamLines({ streams }: ClusterStatus): string[] {
  const lines: string[] = [];
  for (const { name, bytes, bytesMax, trouble } of streams) {
    if (trouble !== '') lines.push('', paint.red(oneLine(`nothing is accepted: ${trouble}`, 400)));
    else if (bytesMax > 0 && bytes > streamFullRatio * bytesMax) {
      const share = Math.round((100 * bytes) / bytesMax);
      lines.push('', paint.yellow(`${oneLine(name, 40)} is ${share} % full (${bytes} of ${bytesMax} bytes)`));
    }
  }
  return lines;
}

/** The answer with words for enum numbers. */
export function statusJson(found: ClusterStatus): unknown {
  return snakeKeys({
    ...found,
    nodes: found.nodes.map((node) => ({
      ...node,
      actors: node.actors.map((actor) => ({ ...actor, state: stateWords[actor.state] })),
    })),
  });
}

const failedStates: ReadonlySet<ActorState> = new Set([
  ActorState.DEAD,
  ActorState.RESTARTING,
  ActorState.OUT_OF_SERVICE,
]);
function clockCell({ clockSkewMs }: Node): Cell {
  if (clockSkewMs === undefined) return { painted: paint.yellow('unknown') };
  const words = `${clockSkewMs < 0 ? '-' : '+'}${(Math.abs(clockSkewMs) / 1_000).toFixed(1)} s`;
  return Math.abs(clockSkewMs) > limits.clockSkewToldMs ? { painted: paint.yellow(words) } : words;
}

/** What is wrong with the nodes' clocks, and what came too late. */
function clockLines(nodes: readonly Node[]): readonly string[] {
  return nodes.flatMap(({ id, refuses, clockSkewMs, expired }) => [
    ...(refuses === '' ? [] : [`${id} takes no work: ${refuses}`]),
    ...(refuses === '' && clockSkewMs === undefined
      ? [`${id} does not know the time of NATS and goes by its own clock`]
      : []),
    ...(expired > 0 ? [`${id} dropped ${expired} tasks because their time was over`] : []),
  ]);
}

function stateCell(actor: Actor): Cell {
  const word = stateWords[actor.state] ?? String(actor.state);
  const reason = actor.stateReason ? `: ${oneLine(actor.stateReason, 80)}` : '';
  if (actor.state === ActorState.ALIVE) return { painted: paint.green(word) };
  const failed = failedStates.has(actor.state);
  return { painted: failed ? paint.red(`${word}${reason}`) : paint.yellow(`${word}${reason}`) };
}

function restartText({ restarts, restartsMax }: Actor): string {
  return restartsMax < 0 ? String(restarts) : `${restarts}/${restartsMax}`;
}

function ageText(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7_200 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3_600)} h`;
}
