// grm up: a whole cluster on this machine until Ctrl-C. grm demo: the same, for as long as it takes to score a file and show the verdicts.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pc from 'picocolors';
import { intake } from '../coordinator/intake.js';
import { environment } from '../process/environment.js';
import { exitCodes, type ExitCode } from '../process/run.js';
import type { NamedFlag } from '../process/sources.js';
import { GrmClient } from '../rpc/client.js';
import { CliError, configArgs, readConfig, type GlobalOptions } from './context.js';
import { startEmbedded, type Embedded } from './embedded.js';
import { verdictSummary } from './render.js';
import { scoreRows } from './score.js';

export interface UpOptions {
  readonly workers?: string;
  readonly metaWorkers?: string;
  readonly dataDir?: string;
  readonly nats?: string;
  readonly listen?: string;
  readonly fakeEngine?: boolean;
  readonly verbose?: boolean;
}

/** Until the first Ctrl-C; the second one kills. Resolves to the exit code. */
export async function up(global: GlobalOptions, options: UpOptions): Promise<ExitCode> {
  const stop = stopSignal();
  const cluster = await start(global, options, stop.signal);
  tell(`ready: \`grm score FILE\`, \`grm status\`; Ctrl-C drains and stops`);
  const failure = await Promise.race([cluster.failed, stop.first.then(() => undefined)]);
  if (failure !== undefined) tell(pc.red(failure));
  else tell('draining; Ctrl-C again kills');
  void stop.second.then(() => cluster.close());
  await cluster.close();
  tell('stopped');
  return failure === undefined ? exitCodes.ok : exitCodes.failure;
}

export async function demo(global: GlobalOptions, options: UpOptions, input: string): Promise<ExitCode> {
  const stop = stopSignal();
  // Its own empty folder: with an old ledger the verdicts of an earlier run would be shown, and nothing drawn.
  const folder = options.dataDir === undefined ? await mkdtemp(join(tmpdir(), 'grm-demo-')) : undefined;
  const cluster = await start(global, { ...options, ...(folder !== undefined && { dataDir: folder }) }, stop.signal);
  void stop.second.then(() => cluster.close());
  const abort = new AbortController();
  void stop.first.then(() => abort.abort());
  const client = GrmClient.connect({ address: cluster.grpcAddress });
  try {
    tell('');
    const startedAtMs = Date.now();
    let samples = 0;
    const summary = await scoreRows(client, {
      input,
      out: '/dev/null',
      concurrency: 16,
      deadlineMs: 600_000,
      defaults: {},
      class: 'interactive',
      samples: false,
      progress: 'none',
      signal: abort.signal,
      onRow: (row, answer) => {
        const title = `#${row.number + 1} ${row.body.kind === 'request' && typeof row.body.id === 'string' ? row.body.id : ''}`;
        if (answer.kind === 'verdict') {
          samples += answer.verdict.k;
          const taken = row.body.kind === 'request' ? intake(row.body.raw) : undefined;
          process.stdout.write(
            `${verdictSummary(title, answer.verdict, taken?.kind === 'ok' ? taken.input.content : undefined)}\n\n`,
          );
        } else
          process.stdout.write(
            `${title}  ${pc.red(answer.kind === 'fault' ? answer.fault.message : answer.reason)}\n\n`,
          );
      },
    });
    const seconds = (Date.now() - startedAtMs) / 1_000;
    tell(
      `${summary.rows} requests, ${samples} samples in ${seconds.toFixed(1)} s (${(samples / seconds).toFixed(0)} samples/s); ${summary.invalid} invalid, ${summary.failed} failed`,
    );
    return summary.code;
  } finally {
    client.close();
    await cluster.close();
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  }
}

async function start(global: GlobalOptions, options: UpOptions, stopping: AbortSignal): Promise<Embedded> {
  const named: NamedFlag[] = [
    { flag: '--workers', key: 'up.workers', value: options.workers },
    { flag: '--meta-workers', key: 'up.meta_workers', value: options.metaWorkers },
    { flag: '--data-dir', key: 'up.data_dir', value: options.dataDir },
    { flag: '--nats', key: 'nats.servers', value: options.nats?.split(',') },
    { flag: '--listen', key: 'grpc.listen', value: options.listen },
  ];
  const { config } = readConfig(global, named);
  const passed = named.flatMap(({ key, value }) =>
    value === undefined ? [] : ['--set', `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`],
  );
  const fake = options.fakeEngine === true || config.worker.engines.length === 0;
  if (fake) {
    const why = options.fakeEngine === true ? '--fake-engine' : 'no engine is configured (worker.engines)';
    process.stderr.write(
      `${pc.bold(`FAKE ENGINE: ${why}. The judgements below are invented; they show the cluster at work, not a judge.`)}\n`,
    );
  }
  if (stopping.aborted) throw new CliError('interrupted', exitCodes.interrupted);
  return startEmbedded({
    config,
    configArgs: [...configArgs(global), ...passed],
    env: environment(),
    workers: config.up.workers,
    metaWorkers: fake || config.meta.engines.length > 0 ? config.up.metaWorkers : 0,
    fake,
    tell,
    stopping,
    ...(options.verbose && {
      onLog: (name: string, line: string) => process.stderr.write(`${pc.dim(name.padEnd(14))} ${line}\n`),
    }),
  });
}

function tell(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** `signal` aborts at the first Ctrl-C or SIGTERM. */
function stopSignal(): { signal: AbortSignal; first: Promise<void>; second: Promise<void> } {
  const controller = new AbortController();
  let times = 0;
  let onFirst: () => void = () => undefined;
  let onSecond: () => void = () => undefined;
  const first = new Promise<void>((resolve) => (onFirst = resolve));
  const second = new Promise<void>((resolve) => (onSecond = resolve));
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => {
      times++;
      if (times === 1) {
        controller.abort();
        onFirst();
      } else onSecond();
    });
  }
  return { signal: controller.signal, first, second };
}
