// The commands that look at a running cluster and steer it: inspect, status, dead, drain, resume, slots, cancel.

import type { Command } from 'commander';
import { limits } from '../limits.js';
import { exitCodes } from '../process/run.js';
import { CliError } from './context.js';
import { table, verdictInFull, verdictRow } from './render.js';
import { oneLine } from './printable.js';
import { whole, type Session } from './session.js';
import { snakeKeys } from './snake.js';
import { status, type StatusFlags } from './status.js';

export function addInspect(program: Command, session: Session): void {
  program
    .command('inspect')
    .argument('<request>', 'a request id, or an idempotency key (of --tenant)')
    .description('show a stored verdict: principles, critiques, who was kept, the vote')
    .action((request: string) =>
      session.ask(async ({ client, signal }) => {
        const stored = await client.verdict(request, { signal });
        if (!stored)
          throw new CliError(
            `no verdict of "${oneLine(request, 100)}" is kept: give a request id, or an idempotency key and its --tenant`,
          );
        const { verdict, content } = stored;
        session.show({ ...verdictRow(verdict, true), content: content ?? null }, () => verdictInFull(verdict, content));
        return exitCodes.ok;
      }),
    );
}

/** Requests that a line names. */
const namedMax = 20;

export function addOperate(program: Command, session: Session): void {
  program
    .command('status')
    .description('show nodes, actors, GPUs, queues and rates')
    .option('--watch', 'every second, until Ctrl-C')
    .action((flags: StatusFlags) => session.ask((cluster) => status(session, cluster, flags)));

  addDead(program.command('dead').description('quarantined shards'), session);
  addOrders(program, session);
}

function addDead(dead: Command, session: Session): void {
  dead
    .command('list')
    .description('show quarantined shards and why they are there')
    .option('--limit <n>', 'newest first', whole(1, limits.deadRetryMax), 100)
    .action((flags: { limit: number }) =>
      session.ask(async ({ client, signal }) => {
        const shards = await client.listDead(flags.limit, { signal });
        const { dead: there } = await client.status({ signal });
        session.show(snakeKeys(shards), () => {
          if (shards.length === 0) return 'nothing is quarantined';
          return table(
            ['id', 'samples', 'deliveries', 'worker', 'died', 'reason'],
            shards.map(({ id, samples, deliveries, worker, diedAtMs, reason }) => [
              id,
              samples.join(','),
              deliveries,
              worker,
              new Date(diedAtMs).toISOString(),
              reason,
            ]),
          );
        });
        if (there > shards.length && !session.json)
          session.note(`${shards.length} of ${there} are shown: --limit shows more`);
        return exitCodes.ok;
      }),
    );
  dead
    .command('retry')
    .argument('[ids...]', 'shards as `grm dead list` names them; none: all')
    .description('run the requests of quarantined shards again')
    .action((ids: string[]) =>
      session.ask(async ({ client, signal }) => {
        const { requestIds, shards, refused, refusedCount } = await client.retryDead(ids, { signal });
        const json = {
          request_ids: requestIds,
          shards,
          refused: Object.fromEntries(refused),
          refused_count: refusedCount,
        };
        session.show(json, () => {
          if (requestIds.length === 0) return 'no request runs again';
          const many = requestIds.length === 1 ? '1 request runs' : `${requestIds.length} requests run`;
          const named = requestIds.slice(0, namedMax).join(', ');
          const more = requestIds.length > namedMax ? ` and ${requestIds.length - namedMax} more` : '';
          return `${many} again, ${shards} ${shards === 1 ? 'shard' : 'shards'} taken back: ${named}${more}`;
        });
        if (!session.json) for (const [id, reason] of refused) session.note(oneLine(`${id}: ${reason}`, 400));
        if (refusedCount > refused.size && !session.json)
          session.note(`and ${refusedCount - refused.size} more refused`);
        return refusedCount > 0 ? exitCodes.failure : exitCodes.ok;
      }),
    );
}

function addOrders(program: Command, session: Session): void {
  for (const [name, words] of [
    ['drain', 'tell workers to finish what they have and take no more'],
    ['resume', 'take drained workers back'],
  ] as const) {
    program
      .command(name)
      .argument('[nodes...]', 'as `grm status` names them; none: all workers')
      .description(words)
      .action((nodes: string[]) =>
        session.ask(async ({ client, signal }) => {
          const took = await client[name](nodes, { signal });
          session.show({ nodes: took }, () => (took.length > 0 ? took.join('\n') : 'no node took the order'));
          const missing = nodes.filter((node) => !took.includes(node));
          if (missing.length > 0 && !session.json) session.note(`not reached: ${oneLine(missing.join(', '), 400)}`);
          return missing.length > 0 || took.length === 0 ? exitCodes.failure : exitCodes.ok;
        }),
      );
  }

  program
    .command('slots')
    .argument('<node>', 'as `grm status` names it')
    .argument('<n>', 'samples at once', whole(1, limits.slotsMax))
    .description('set how many samples a worker runs at once')
    .action((node: string, n: number) =>
      session.ask(async ({ client, signal }) => {
        const slots = await client.setSlots(node, n, { signal });
        session.show({ node, slots }, () => `${oneLine(node, 100)}: ${slots} slots`);
        return exitCodes.ok;
      }),
    );

  program
    .command('cancel')
    .argument('<request>', 'a request id')
    .description('cancel a running request, in the queue and in the engines')
    .action((request: string) =>
      session.ask(async ({ client, signal }) => {
        const cancelled = await client.cancel(request, { signal });
        session.show({ cancelled }, () => (cancelled ? 'cancelled' : 'it is not running'));
        return cancelled ? exitCodes.ok : exitCodes.failure;
      }),
    );
}
