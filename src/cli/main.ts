#!/usr/bin/env node
// grm: the command line. Each command lives in its own file; this one names them, their options, and how they end.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import pc from 'picocolors';
import type { ScoreOptions } from '../coordinator/coordinator.js';
import { classes, voteMethods, type VoteMethod } from '../grm/query.js';
import { shownSettings } from '../process/config.js';
import { exitCodes, type ExitCode } from '../process/run.js';
import { sourceText } from '../process/sources.js';
import { version } from '../process/version.js';
import { clusterAddress, CliError, connect, failureOf, readConfig, type GlobalOptions } from './context.js';
import { doctor, findingText } from './doctor.js';
import { table, verdictInFull, verdictRow } from './render.js';
import { scoreRows } from './score.js';
import { status } from './status.js';
import { demo, up, type UpOptions } from './up.js';

const program = new Command('grm');

program
  .description('Scores responses with a cluster of generative reward models.')
  .version(version)
  .option('--config <file>', 'configuration file (default: GRM_CONFIG, else ./grm.yaml if there is one)')
  .option(
    '--set <key=value>',
    'one setting, such as defaults.k=16; may be repeated',
    (each: string, all: string[]) => [...all, each],
    [],
  )
  .option(
    '--address <host:port>',
    "the cluster's gRPC door (default: GRM_ADDRESS, a running `grm up`, else grpc.listen)",
  )
  .option('--token-file <file>', 'file with the bearer token (default: GRM_TOKEN)')
  .option('--ca-file <file>', 'connect with TLS and trust this authority')
  .option('--tenant <name>', 'who asks')
  .option('--json', 'JSON instead of text')
  .showHelpAfterError('(see grm --help)')
  .configureHelp({ helpWidth: 110 })
  .exitOverride();

const global = (): GlobalOptions => program.opts<GlobalOptions>();

const upOptions = (command: Command): Command =>
  command
    .option('--workers <n>', 'GRM workers')
    .option('--meta-workers <n>', 'meta workers')
    .option('--data-dir <folder>', 'NATS data, logs and state (default .grm)')
    .option('--nats <urls>', 'use these NATS servers instead of an own one')
    .option('--listen <host:port>', "address of the coordinator's gRPC door")
    .option('--fake-engine', 'use the fake engine: for load and tests, its judgements mean nothing')
    .option('--verbose', "show the services' logs");

upOptions(program.command('up'))
  .description('run a whole cluster on this machine until Ctrl-C')
  .action((options: UpOptions) => run(() => up(global(), options)));

upOptions(program.command('demo <file>'))
  .description('start a cluster, score a JSONL file, show the verdicts, stop')
  .action((file: string, options: UpOptions) => run(() => demo(global(), options, file)));

interface ScoreFlags {
  readonly out?: string;
  readonly k?: number;
  readonly vote?: VoteMethod;
  readonly kMeta?: number;
  readonly temperature?: number;
  readonly maxTokens?: number;
  readonly quorum?: number;
  readonly seed?: number;
  readonly deadline?: number;
  readonly class?: string;
  readonly concurrency: number;
  readonly samples?: boolean;
}

program
  .command('score [file]')
  .description('score JSONL rows ({query, responses, ...}); "-" or nothing reads standard input')
  .option('--out <file>', 'write here and go on where an earlier run stopped (default: standard output)')
  .option('--k <n>', 'samples per request', whole)
  .addOption(new Option('--vote <method>', 'how samples are combined').choices(voteMethods))
  .option('--k-meta <n>', 'samples that the meta RM keeps', whole)
  .option('--temperature <t>', 'sampling temperature, 0 = greedy', decimal)
  .option('--max-tokens <n>', 'tokens per sample', whole)
  .option('--quorum <n>', 'valid samples needed when the time ends', whole)
  .option('--seed <n>', 'makes equal requests different', whole)
  .option('--deadline <seconds>', 'time per request', decimal)
  .addOption(new Option('--class <class>', 'who waits').choices(classes))
  .option('--concurrency <n>', 'requests open at once, at most 256', whole, 64)
  .option('--samples', 'write every sample with its texts')
  .action((file: string | undefined, flags: ScoreFlags) =>
    run(async () => {
      const resolved = readConfig(global());
      const { client, address } = connect(global(), resolved);
      const stop = untilInterrupted();
      try {
        const summary = await scoreRows(client, {
          input: file ?? '-',
          ...(flags.out !== undefined && { out: flags.out }),
          concurrency: Math.min(256, Math.max(1, flags.concurrency)),
          deadlineMs: flags.deadline === undefined ? 600_000 : flags.deadline * 1_000 + 5_000,
          defaults: scoreDefaults(flags),
          ...(flags.class !== undefined && { class: flags.class }),
          samples: flags.samples === true,
          progress: global().json ? 'json' : 'auto',
          signal: stop,
        });
        const { rows, resumed, invalid, failed, code } = summary;
        if (global().json) note(JSON.stringify({ event: 'end', rows, resumed, invalid, failed }));
        else
          note(
            `${rows} rows${resumed > 0 ? ` (${resumed} from an earlier run)` : ''}, ${invalid} invalid, ${failed} failed`,
          );
        if (code === exitCodes.interrupted && flags.out !== undefined)
          note('interrupted; the same command goes on from here');
        return code;
      } catch (error) {
        throw addressed(error, address);
      } finally {
        client.close();
      }
    }),
  );

program
  .command('inspect <request>')
  .description('show a stored verdict: principles, critiques, who was kept, the vote')
  .action((request: string) =>
    withClient(async ({ client }) => {
      const stored = await client.verdict(request);
      if (!stored)
        throw new CliError(`no verdict of ${request} is kept (a request id, or an idempotency key with --tenant)`);
      print(
        global().json
          ? JSON.stringify({ ...verdictRow(stored.verdict, true), content: stored.content ?? null })
          : verdictInFull(stored.verdict, stored.content),
      );
      return exitCodes.ok;
    }),
  );

program
  .command('status')
  .description('show nodes, actors, GPUs, queues and rates')
  .option('--watch', 'every second, until Ctrl-C')
  .action((flags: { watch?: boolean }) =>
    withClient(async ({ client }) => {
      await status(client, { json: global().json === true, watch: flags.watch === true, signal: untilInterrupted() });
      return exitCodes.ok;
    }),
  );

const dead = program.command('dead').description('quarantined shards');
dead
  .command('list')
  .option('--limit <n>', 'newest first', whole, 100)
  .action((flags: { limit: number }) =>
    withClient(async ({ client }) => {
      const shards = await client.listDead(flags.limit);
      if (global().json) print(JSON.stringify(shards));
      else if (shards.length === 0) print('nothing is quarantined');
      else
        print(
          table(
            ['id', 'samples', 'deliveries', 'worker', 'died', 'reason'],
            shards.map((each) => [
              each.id,
              each.samples.join(','),
              each.deliveries,
              each.worker,
              new Date(each.diedAtMs).toISOString(),
              each.reason,
            ]),
          ),
        );
      return exitCodes.ok;
    }),
  );
dead
  .command('retry [ids...]')
  .description('run the requests of quarantined shards again (no ids: all)')
  .action((ids: string[]) =>
    withClient(async ({ client }) => {
      const { requestIds, refused } = await client.retryDead(ids);
      if (global().json) print(JSON.stringify({ request_ids: requestIds, refused: Object.fromEntries(refused) }));
      else {
        print(`${requestIds.length} requests run again${requestIds.length > 0 ? `: ${requestIds.join(', ')}` : ''}`);
        for (const [id, reason] of refused) note(`${id}: ${reason}`);
      }
      return refused.size > 0 ? exitCodes.failure : exitCodes.ok;
    }),
  );

for (const [name, words] of [
  ['drain', 'tell workers to finish and take no more (no ids: all)'],
  ['resume', 'take drained workers back (no ids: all)'],
] as const) {
  program
    .command(`${name} [nodes...]`)
    .description(words)
    .action((nodes: string[]) =>
      withClient(async ({ client }) => {
        const took = await client[name](nodes);
        print(global().json ? JSON.stringify(took) : took.length > 0 ? took.join('\n') : 'no node took the order');
        return nodes.every((node) => took.includes(node)) ? exitCodes.ok : exitCodes.failure;
      }),
    );
}

program
  .command('slots <node> <n>')
  .description('set how many samples a worker runs at once')
  .action((node: string, n: string) =>
    withClient(async ({ client }) => {
      print(`${node}: ${await client.setSlots(node, whole(n))} slots`);
      return exitCodes.ok;
    }),
  );

program
  .command('cancel <request>')
  .description('cancel a running request, in the queue and in the engines')
  .action((request: string) =>
    withClient(async ({ client }) => {
      const cancelled = await client.cancel(request);
      print(cancelled ? 'cancelled' : 'it is not running');
      return cancelled ? exitCodes.ok : exitCodes.failure;
    }),
  );

program
  .command('doctor')
  .description('check NATS, streams, engines, meta RM and clocks, with a fix for each failure')
  .action(() =>
    withClient(async ({ client, address }) => {
      const { config } = readConfig(global());
      const findings = await doctor({
        config,
        natsServers: config.nats.servers.length > 0 ? config.nats.servers : ownNats(config.up.dataDir),
        client,
        address,
        onFinding: (finding) => {
          if (!global().json) print(findingText(finding));
        },
      });
      if (global().json) print(JSON.stringify(findings));
      return findings.some(({ result }) => result === 'failed') ? exitCodes.failure : exitCodes.ok;
    }),
  );

program
  .command('config')
  .description('the configuration')
  .command('print')
  .description('every setting with its value and where it came from; secrets are not shown')
  .action(() =>
    run(() => {
      const { config, sources } = readConfig(global());
      const rows = shownSettings(config, sources);
      if (global().json)
        print(
          JSON.stringify(
            Object.fromEntries(rows.map(({ key, value, source }) => [key, { value, source: sourceText(source) }])),
          ),
        );
      else
        print(
          table(
            ['setting', 'value', 'from'],
            rows.map(({ key, value, source }) => [
              key,
              value,
              source.kind === 'default' ? pc.dim('default') : sourceText(source),
            ]),
          ),
        );
      return Promise.resolve(exitCodes.ok);
    }),
  );

function scoreDefaults(flags: ScoreFlags): ScoreOptions {
  const { k, kMeta, vote, temperature, maxTokens, quorum, seed, deadline } = flags;
  return {
    ...(k !== undefined && { k }),
    ...(kMeta !== undefined && { kMeta }),
    ...(vote !== undefined && { vote }),
    ...(temperature !== undefined && { temperature }),
    ...(maxTokens !== undefined && { maxTokens }),
    ...(quorum !== undefined && { quorum }),
    ...(seed !== undefined && { seed }),
    ...(deadline !== undefined && { timeBudgetMs: Math.round(deadline * 1_000) }),
  };
}

/** The NATS server of the `grm up` of this folder, else the usual address. */
function ownNats(dataDir: string): readonly string[] {
  try {
    return [readFileSync(join(dataDir, 'nats.url'), 'utf8').trim()];
  } catch {
    return ['nats://127.0.0.1:4222'];
  }
}

function withClient(work: (cluster: ReturnType<typeof connect>) => Promise<ExitCode>): Promise<void> {
  return run(async () => {
    const resolved = readConfig(global());
    const cluster = connect(global(), resolved);
    try {
      return await work(cluster);
    } catch (error) {
      throw addressed(error, clusterAddress(global(), resolved));
    } finally {
      cluster.client.close();
    }
  });
}

function addressed(error: unknown, address: string): CliError {
  const { message, code } = failureOf(error, address);
  return new CliError(message, code);
}

async function run(work: () => Promise<ExitCode>): Promise<void> {
  try {
    process.exitCode = await work();
  } catch (error) {
    const { message, code } = failureOf(error);
    note(global().json ? JSON.stringify({ error: message }) : `${pc.red('grm:')} ${message}`);
    process.exitCode = code;
  }
}

/** The first Ctrl-C ends the work cleanly, the second at once. */
function untilInterrupted(): AbortSignal {
  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(name === 'SIGINT' ? exitCodes.interrupted : exitCodes.terminated);
      controller.abort();
    });
  }
  return controller.signal;
}

function whole(text: string): number {
  if (!/^\d{1,10}$/.test(text)) throw new InvalidArgumentError('a whole number is expected.');
  return Number(text);
}

function decimal(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) throw new InvalidArgumentError('a number is expected.');
  return value;
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

function note(text: string): void {
  process.stderr.write(`${text}\n`);
}

// `grm score ... | head` closes our output: that is the reader's choice, not a failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(exitCodes.ok);
});

try {
  await program.parseAsync();
} catch (error) {
  // commander has said what is wrong; help and version are no failures.
  const { code, exitCode } = error as { code?: string; exitCode?: number };
  if (code === undefined || !code.startsWith('commander.')) throw error;
  process.exitCode = exitCode === 0 ? exitCodes.ok : exitCodes.usage;
}
