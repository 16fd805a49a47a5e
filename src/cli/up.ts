// grm up: a whole cluster on this machine until Ctrl-C. grm demo: the same, for as long as it takes to score a file and show the verdicts.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { intake } from '../coordinator/intake.js';
import { prettyLine } from '../observe/log.js';
import { steadyNow } from '../process/clock.js';
import { environment } from '../process/environment.js';
import { exitCodes, type ExitCode } from '../process/run.js';
import type { NamedFlag } from '../process/sources.js';
import {
  CliError,
  configArgs,
  connect,
  readConfig,
  reachable,
  type GlobalOptions,
  type ResolvedConfig,
} from './context.js';
import { startEmbedded, type Embedded } from './embedded.js';
import { checkJudge, chooseJudge, judgeNotice, nanoAdvice, type Judge } from './judge.js';
import { openTeller, type Teller } from './notice.js';
import { JudgeTally } from './judged.js';
import { noOutput } from './output.js';
import { paint, paintErr } from './paint.js';
import { oneLine } from './printable.js';
import { verdictRow, verdictSummary } from './render.js';
import type { Reader } from './reader.js';
import { openInput, type Row } from './rows.js';
import { RowCounts } from './row-kind.js';
import { codeOf, scoreRows, type Answer } from './score.js';
import type { Session } from './session.js';
import { stopSignals, type Stop } from './stop.js';
import { Tally } from './tally.js';

interface UpOptions {
  readonly workers?: string;
  readonly metaWorkers?: string;
  readonly dataDir?: string;
  readonly nats?: string;
  readonly listen?: string;
  readonly model?: string;
  readonly metaModel?: string;
  readonly fakeEngine?: boolean;
  readonly verbose?: boolean;
}

export function addUp(program: Command, session: Session, reader: Reader): void {
  clusterOptions(program.command('up'))
    .description('run a whole cluster on this machine until Ctrl-C')
    .option('--data-dir <folder>', 'NATS data, logs and state (default .grm)')
    .action((options: UpOptions) => session.run(() => up(session.options, options, stopOf(reader))));
  clusterOptions(program.command('demo'))
    .argument('<file>', 'JSONL rows, as `grm score` takes them')
    .description('start a cluster, score a JSONL file, show the verdicts, stop')
    .option('--data-dir <folder>', 'NATS data, logs and state (default: a temporary folder)')
    .action((file: string, options: UpOptions) =>
      session.run(() => demo(session.options, options, file, stopOf(reader))),
    );
}

function clusterOptions(command: Command): Command {
  return command
    .option(
      '--model <gguf>',
      'the judge: a GGUF file, or hf:user/repo/file.gguf (default: worker.engines, else the nano judge)',
    )
    .option(
      '--meta-model <gguf>',
      'the meta RM that ranks its samples, read by its log-odds of Yes and No; none: plain sums',
    )
    .option('--workers <n>', 'GRM workers (default 1)')
    .option('--meta-workers <n>', 'meta workers (default 1, and none without a meta RM)')
    .option('--nats <urls>', 'use these NATS servers instead of an own one')
    .option('--listen <host:port>', "address of the coordinator's gRPC door; port 0 takes any free one")
    .option('--fake-engine', 'use the fake engine: for load and tests, its judgements mean nothing')
    .option('--verbose', "show the services' logs");
}

/** Ctrl-C, and a reader of our output that has seen enough: processes and a folder are left to clean up. */
function stopOf(reader: Reader): Stop {
  const stop = stopSignals('tell');
  reader.onGone(() => stop.enough());
  return stop;
}

/** Until the first Ctrl-C drains it; the second one kills. */
async function up(global: GlobalOptions, options: UpOptions, stop: Stop): Promise<ExitCode> {
  const teller = openTeller({
    json: global.json === true,
    stream: process.stderr,
    jsonStream: process.stdout,
    paint: paintErr,
  });
  const { cluster } = await start(global, options, stop, teller, 'to serve');
  const failure = await Promise.race([cluster.failed, untilAborted(stop.first)]);
  teller.tell(failure === undefined ? { event: 'draining', waiting_for: [] } : { event: 'failed', reason: failure });
  const closed = await cluster.close();
  teller.tell({ event: 'stopped' });
  if (failure !== undefined) return exitCodes.failure;
  return stop.second.aborted ? stop.code() : closed;
}

async function demo(global: GlobalOptions, options: UpOptions, path: string, stop: Stop): Promise<ExitCode> {
  const input = await openInput(path);
  const teller = openTeller({
    json: global.json === true,
    stream: process.stderr,
    jsonStream: process.stderr,
    paint: paintErr,
  });
  // Its own empty folder: with an old ledger the verdicts of an earlier run would be shown, and nothing drawn.
  const folder = options.dataDir === undefined ? await mkdtemp(join(tmpdir(), 'grm-demo-')) : undefined;
  try {
    const named = { ...options, ...(folder !== undefined && { dataDir: folder }) };
    const { cluster, resolved, judge } = await start(freePorts(global, options), named, stop, teller, 'to score');
    try {
      const door = { address: reachable(cluster.grpcAddress), own: true };
      using client = connect(global, resolved, door, 'long');
      const startedAtMs = steadyNow();
      let samples = 0;
      const tally = new Tally();
      const counts = new RowCounts();
      const judges = new JudgeTally();
      const summary = await scoreRows(client, {
        input,
        output: noOutput,
        counts,
        concurrency: 16,
        defaults: {},
        class: 'interactive',
        samples: false,
        progress: 'none',
        signal: stop.first,
        onRow: (row, answer) => {
          if (answer.kind === 'verdict') {
            samples += answer.verdict.k;
            tally.note(nameOf(row), answer.verdict);
            judges.note(answer.verdict);
          }
          process.stdout.write(`${global.json ? rowJson(row, answer) : rowText(row, answer)}\n`);
        },
      });
      const seconds = (steadyNow() - startedAtMs) / 1_000;
      const { rows } = summary;
      const { invalid, failed, unfinished } = counts.lost();
      const lost = unfinished > 0 ? `, ${unfinished} unfinished` : '';
      teller.pass(
        global.json
          ? JSON.stringify({
              ...{ event: 'end', rows, samples, invalid, failed, unfinished, doubtful: tally.doubtful, seconds },
              ...{ stored: judges.stored, judges: judges.json() },
            })
          : `${rows} requests, ${samples} samples in ${seconds.toFixed(1)} s (${(samples / seconds).toFixed(0)} samples/s); ${invalid} invalid, ${failed} failed${lost}`,
      );
      if (!global.json) {
        teller.pass(tally.text());
        if (judges.text() !== '') teller.pass(judges.text());
        if (judge === 'nano') teller.pass(nanoAdvice);
      }
      return summary.interrupted ? stop.code() : codeOf(summary, counts);
    } finally {
      await cluster.close();
    }
  } finally {
    if (folder !== undefined) await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** Nobody else calls it, so it stands in no other cluster's way: ports that are not asked for are any free ones. */
function freePorts(global: GlobalOptions, { listen }: UpOptions): GlobalOptions {
  const { sources } = readConfig(global);
  const doors = listen === undefined ? ['grpc.listen', 'http.listen'] : ['http.listen'];
  const free = doors.filter((key) => !sources.has(key)).map((key) => `${key}=127.0.0.1:0`);
  return { ...global, set: [...(global.set ?? []), ...free] };
}

/** Of a row without an id: its number. */
function nameOf({ number, body }: Row): string {
  const id = body.kind === 'request' ? body.id : undefined;
  return typeof id === 'string' || typeof id === 'number' ? String(id) : `#${number + 1}`;
}

function rowText(row: Row, answer: Answer): string {
  const { number, body } = row;
  const name = nameOf(row);
  const title = name === `#${number + 1}` ? name : `#${number + 1} ${name}`;
  if (answer.kind !== 'verdict') {
    const reason = answer.kind === 'fault' ? answer.fault.message : answer.reason;
    return `${oneLine(title, 100)}  ${paint.red(oneLine(reason, 400))}\n`;
  }
  const taken = body.kind === 'request' ? intake(body.raw) : undefined;
  return `${verdictSummary(title, answer.verdict, taken?.kind === 'ok' ? taken.input.content : undefined)}\n`;
}

function rowJson({ number, body }: Row, answer: Answer): string {
  const head = { row: number, id: body.kind === 'request' ? body.id : null };
  if (answer.kind === 'verdict') return JSON.stringify({ ...head, ...verdictRow(answer.verdict, false) });
  return JSON.stringify({ ...head, error: answer.kind === 'fault' ? answer.fault.message : answer.reason });
}

async function start(
  global: GlobalOptions,
  options: UpOptions,
  stop: Stop,
  teller: Teller,
  wanted: 'to serve' | 'to score',
): Promise<{ readonly cluster: Embedded; readonly resolved: ResolvedConfig; readonly judge: Judge }> {
  const named: NamedFlag[] = [
    { flag: '--workers', key: 'up.workers', value: options.workers },
    { flag: '--meta-workers', key: 'up.meta_workers', value: options.metaWorkers },
    { flag: '--data-dir', key: 'up.data_dir', value: options.dataDir },
    { flag: '--nats', key: 'nats.servers', value: options.nats?.split(',') },
    { flag: '--listen', key: 'grpc.listen', value: options.listen },
  ];
  const chosen = chooseJudge(global, named, options);
  const { judge, resolved, serviceArgs } = chosen;
  const { config } = resolved;
  if (wanted === 'to score' && config.up.workers === 0)
    throw new CliError('--workers 0: nobody would score the rows', exitCodes.usage);
  const passed = named.flatMap(({ key, value }) =>
    value === undefined ? [] : ['--set', `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`],
  );
  const fake = judge === 'fake';
  const hasMeta = fake || config.meta.engines.length > 0;
  if (!hasMeta && Number(options.metaWorkers ?? 0) > 0)
    throw new CliError(
      '--meta-workers: there is no meta RM that they could serve; name one with --meta-model or meta.engines',
      exitCodes.usage,
    );
  await checkJudge(chosen);
  const notice = judgeNotice(judge, config);
  if (notice) teller.tell(notice);
  const cluster = await startEmbedded({
    config,
    configArgs: [...configArgs(global), ...passed, ...serviceArgs],
    env: environment(),
    workers: config.up.workers,
    metaWorkers: hasMeta ? config.up.metaWorkers : 0,
    fake,
    stopping: stop.first,
    hurrying: stop.second,
    tell: (notice) => teller.tell(notice),
    // On a terminal it is one line that moves.
    ...(process.stderr.isTTY && global.json !== true && { tellEveryMs: 1_000 }),
    ...(options.verbose && {
      onLog: (name: string, line: string) => teller.pass(logText(name, line, global.json === true)),
    }),
  }).finally(() => teller.clear());
  return { cluster, resolved, judge };
}

/** A service's log line for people; one that is not ours (a server's own output) as it came. */
function logText(name: string, line: string, json: boolean): string {
  if (json) return JSON.stringify({ event: 'log', process: name, line });
  const from = paintErr.dim(name.padEnd(14));
  try {
    return `${from} ${prettyLine(line, paintErr.isColorSupported).trimEnd()}`;
  } catch {
    return `${from} ${oneLine(line, 2_000)}`;
  }
}

function untilAborted(signal: AbortSignal): Promise<undefined> {
  if (signal.aborted) return Promise.resolve(undefined);
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(undefined), { once: true }));
}
