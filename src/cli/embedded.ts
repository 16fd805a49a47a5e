// Embedded: a whole cluster on this machine, as separate processes: nats-server with its keeper, a coordinator, workers, meta workers.
//
//   B1. It is stopped in order: the coordinator first, which finishes what it accepted, then the workers, NATS last.
//   B2. A process that dies is started again at its old address and the cluster goes on (service.ts); one that dies all the time ends the cluster.
//   B3. Nothing stays behind: a service whose parent vanished drains and ends by itself, and NATS after the last of them (nats-keeper.ts);
//       what remains of that when the next `grm up` starts is waited for (folder.ts).
//   B4. A start that fails, or is called off, has stopped everything that it had started when it rejects.

import { setTimeout as sleep } from 'node:timers/promises';
import { join } from 'node:path';
import { limits } from '../limits.js';
import { scrubbed } from '../observe/redact.js';
import { steadyNow } from '../process/clock.js';
import type { Config } from '../process/schema.js';
import { exitCodes, type ExitCode } from '../process/run.js';
import { CliError } from './context.js';
import { folderOf, natsName, openFolder, type Folder, type StartedProcess } from './folder.js';
import { findNatsServer, natsServerMissing, storeDir } from './nats-server.js';
import type { Guarded } from './nats-keeper.js';
import type { Notice } from './notice.js';
import { claim, silence } from './port.js';
import { Service, type Ready, type ServicePlan } from './service.js';
import { EngineWatch } from './waiting.js';

export interface EmbeddedOptions {
  readonly config: Config;
  /** Arguments that carry this configuration to the services: `--config FILE --set key=value ...`. */
  readonly configArgs: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly workers: number;
  readonly metaWorkers: number;
  /** The fake engine judges, whatever is configured. */
  readonly fake: boolean;
  /** Aborts when the start is not wanted any more. */
  readonly stopping: AbortSignal;
  /** Aborts when nothing is to be waited for any more. */
  readonly hurrying?: AbortSignal;
  readonly tell: (notice: Notice) => void;
  /** How often it is told what is waited for. Default 5 s. */
  readonly tellEveryMs?: number;
  /** A service's own log lines, when wanted. */
  readonly onLog?: (name: string, line: string) => void;
}

export interface Embedded {
  readonly grpcAddress: string;
  /** Resolves when the cluster can no longer serve, with the reason. */
  readonly failed: Promise<string>;
  /** Drains and stops everything; resolves to the worst that came of it. */
  close(): Promise<ExitCode>;
}

type ServiceKind = 'coordinator' | 'grm-worker' | 'meta-worker' | 'fake-engine';

/** B1. */
const stopOrder: readonly (readonly string[])[] = [
  ['services/coordinator/main.js'],
  ['services/grm-worker/main.js', 'services/meta-worker/main.js'],
  ['services/fake-engine/main.js'],
  ['src/cli/nats-keeper.js'],
];

const tellEveryMsDefault = 5_000;
const natsAnswerMs = 3_000;

export async function startEmbedded(options: EmbeddedOptions): Promise<Embedded> {
  const { config, stopping, tell } = options;
  const graceMs = graceOf(config);
  const folder = await openFolder(
    folderOf(config.up.dataDir, options.fake),
    graceMs,
    (processes) => tell({ event: 'left_behind', processes }),
    stopping,
  ).catch((error: unknown) => {
    throw stopping.aborted ? interrupted : error;
  });
  const cluster = new Cluster(options, folder, graceMs);
  try {
    await Promise.race([cluster.start(), untilAborted(stopping)]);
    if (stopping.aborted) throw interrupted;
    return cluster;
  } catch (error) {
    await cluster.close();
    throw stopping.aborted ? interrupted : error;
  }
}

const interrupted = new CliError('interrupted before the cluster was ready', exitCodes.interrupted);

class Cluster implements Embedded {
  readonly failed: Promise<string>;
  grpcAddress = '';
  #natsUrl = '';
  #natsPid: number | undefined;
  #http = '';
  #fail: (reason: string) => void = () => undefined;
  #closed: Promise<ExitCode> | undefined;
  readonly #services: Service[] = [];
  readonly #watch: EngineWatch;

  constructor(
    private readonly options: EmbeddedOptions,
    private readonly folder: Folder,
    private readonly graceMs: number,
  ) {
    const { workers, metaWorkers, tell, hurrying } = options;
    this.#watch = new EngineWatch({ workers, metaWorkers }, steadyNow, tell);
    this.failed = new Promise((resolve) => (this.#fail = resolve));
    hurrying?.addEventListener('abort', () => this.#hurry());
  }

  /** Resolves when every worker serves. */
  async start(): Promise<void> {
    const silence = this.#tellWaiting();
    try {
      await this.#start();
    } finally {
      silence();
    }
    this.options.tell({
      event: 'ready',
      grpc: this.grpcAddress,
      nats: scrubbed(this.#natsUrl),
      metrics: `http://${this.#http}/metrics`,
      data_dir: this.folder.path,
      pids: Object.fromEntries(Object.entries(this.#processes()).map(([name, { pid }]) => [name, pid])),
    });
  }

  async #start(): Promise<void> {
    const { config, fake, workers, metaWorkers } = this.options;
    const listen = await claimed('grpc.listen', config.grpc.listen, '--listen 127.0.0.1:0');
    const http = await claimed('http.listen', config.http.listen, '--set http.listen=127.0.0.1:0');
    this.#natsUrl = await this.#startNats();
    const engines = fake ? await this.#startFake() : [];
    const common = [...this.options.configArgs, ...engines];
    await this.#startService('coordinator', 'coordinator', [
      ...common,
      ...set('grpc.listen', listen),
      ...set('http.listen', http),
    ]);
    const kinds = [
      ...Array.from({ length: workers }, () => 'grm-worker' as const),
      ...Array.from({ length: metaWorkers }, () => 'meta-worker' as const),
    ];
    await Promise.all(
      kinds.map((kind, at) => {
        const number = kind === 'grm-worker' ? at + 1 : at - workers + 1;
        return this.#startService(kind, `${kind}-${number}`, [...common, ...set('http.listen', '127.0.0.1:0')]);
      }),
    );
    await this.#untilServing();
  }

  close(): Promise<ExitCode> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<ExitCode> {
    const { tell } = this.options;
    const left = new Set(this.#services.filter((each) => each.pid !== undefined));
    const reminder = setInterval(
      () => tell({ event: 'draining', waiting_for: [...left].map((each) => each.name) }),
      tellEveryMsDefault,
    );
    for (const scripts of stopOrder) {
      const these = this.#services.filter((each) => scripts.includes(each.script));
      await Promise.all(
        these.map(async (each) => {
          await each.stop(this.options.hurrying?.aborted === true && each.script !== keeperScript ? 0 : this.graceMs);
          left.delete(each);
        }),
      );
    }
    clearInterval(reminder);
    this.folder.release();
    const late = this.#services.some((each) => each.exitCode === exitCodes.graceOver);
    return late ? exitCodes.graceOver : exitCodes.ok;
  }

  /** The keeper is asked, not killed: it ends its server at once, now that nobody uses it. */
  #hurry(): void {
    this.options.tell({ event: 'killing' });
    for (const each of this.#services) if (each.script !== keeperScript) each.kill();
  }

  async #startNats(): Promise<string> {
    const { config, env, tell } = this.options;
    if (config.nats.servers.length > 0) {
      const servers = config.nats.servers.map(scrubbed).join(', ');
      tell({ event: 'nats_given', servers });
      const reasons = await Promise.all(config.nats.servers.map((each) => silence(each, natsAnswerMs)));
      // Services try for longer: it may be starting. But nobody shall wonder what is waited for.
      if (!reasons.includes(undefined)) tell({ event: 'nats_silent', servers, reason: reasons.join(', ') });
      return config.nats.servers.join(',');
    }
    const binary = findNatsServer(config.nats.serverBinary, env.PATH ?? '');
    if (binary === undefined) throw new CliError(natsServerMissing);
    const { url } = await this.#launch({
      name: 'nats',
      script: keeperScript,
      args: (before) => [
        ...['--binary', binary, '--data-dir', this.folder.path],
        ...['--port', before?.url === undefined ? '0' : new URL(before.url).port],
      ],
      env,
    });
    return told(url, 'nats');
  }

  /** @returns the settings that point the workers at it. */
  async #startFake(): Promise<string[]> {
    const { url } = await this.#launch({
      name: 'fake-engine',
      script: 'services/fake-engine/main.js',
      args: (before) => ['--instant', '--port', before?.url === undefined ? '0' : new URL(before.url).port],
      env: this.options.env,
    });
    const base = told(url, 'fake-engine');
    return [
      ...set('worker.engines', [{ kind: 'openai', base_url: base, slots: 64 }]),
      ...set('meta.engines', [{ kind: 'vllm_classify', base_url: base, slots: 64 }]),
    ];
  }

  async #startService(kind: ServiceKind, name: string, args: readonly string[]): Promise<Ready> {
    // Their output is read here, so it is JSON whatever the terminal.
    const all = [...args, ...set('log.format', 'json')];
    // By environment, since an address may hold a password and arguments are everybody's to read.
    const env = { ...this.options.env, GRM_NATS__SERVERS: JSON.stringify(this.#natsUrl.split(',')) };
    return this.#launch({ name, script: `services/${kind}/main.js`, args: () => all, env });
  }

  async #launch(plan: ServicePlan): Promise<Ready> {
    if (this.#closed) throw interrupted;
    const service = new Service(plan, {
      logDir: join(this.folder.path, 'logs'),
      onReady: (it, ready) => this.#hearReady(it, ready),
      onStarted: () => this.#publish(),
      onNews: (it, news) => {
        // What ends now ends because it is told to.
        if (this.#closed) return;
        if (news.kind === 'serving') this.#watch.hearServing(news);
        else this.#watch.hearEngines(it.name, news.engines);
      },
      onLog: (it, line) => this.options.onLog?.(it.name, line),
      onEnded: (it, reason, againInMs) => {
        this.#watch.forget(it.name);
        this.options.tell({ event: 'process_ended', name: it.name, reason, again_in_ms: againInMs ?? null });
        if (againInMs === undefined) this.#fail(`${it.name} ends again and again: ${reason}`);
      },
    });
    this.#services.push(service);
    return service.start();
  }

  #hearReady(service: Service, ready: Ready): void {
    if (ready.grpc !== undefined) this.grpcAddress = ready.grpc;
    if (ready.grpc !== undefined && ready.http !== undefined) this.#http = ready.http;
    if (ready.natsPid !== undefined) this.#natsPid = Number(ready.natsPid);
    this.#publish();
    const { grpc, http, node, url } = ready;
    const facts = {
      ...(url !== undefined && { at: url }),
      ...(grpc !== undefined && { gRPC: grpc }),
      ...(node !== undefined && { node }),
      ...(http !== undefined && { metrics: `http://${http}/metrics` }),
    };
    this.options.tell({ event: 'process_ready', name: service.name, pid: service.pid ?? 0, facts });
  }

  #processes(): Record<string, StartedProcess> {
    const started = this.#services.flatMap((each) =>
      each.pid === undefined ? [] : [[each.name, { pid: each.pid, command: each.script }] as const],
    );
    const nats = this.#natsPid;
    const own = nats === undefined ? [] : [[natsName, { pid: nats, command: storeDir(this.folder.path) }] as const];
    return Object.fromEntries([...started, ...own]);
  }

  /** For the other commands, the next `grm up` and the keeper. */
  #publish(): void {
    this.folder.publish({
      processes: this.#processes(),
      ...(this.#natsUrl !== '' && { nats: this.#natsUrl }),
      ...(this.grpcAddress !== '' && { grpc: this.grpcAddress, http: this.#http }),
    });
    const keeper = this.#services.find((each) => each.script === keeperScript);
    const pids = this.#services.flatMap((each) => (each === keeper ? [] : (each.pid ?? [])));
    keeper?.send({ kind: 'guard', pids, graceMs: this.graceMs } satisfies Guarded);
  }

  /** Models take their time to load. */
  async #untilServing(): Promise<void> {
    const giveUpAtMs = steadyNow() + limits.upServingMs;
    while (!this.#watch.complete()) {
      if (this.#closed) throw interrupted;
      const hopeless = this.#watch.hopeless();
      if (hopeless !== undefined) throw new CliError(hopeless);
      if (steadyNow() > giveUpAtMs) {
        const logs = join(this.folder.path, 'logs');
        throw new CliError(`the engines did not serve within ${limits.upServingMs / 3_600_000} hours; see ${logs}`);
      }
      await sleep(50);
    }
  }

  /** How the start goes, now and then. The returned function ends it. */
  #tellWaiting(): () => void {
    const everyMs = this.options.tellEveryMs ?? tellEveryMsDefault;
    const startedAtMs = steadyNow();
    const say = (): void => {
      const starting = this.#services.filter((each) => !each.isReady);
      const processes = starting.map(({ name, lastLine }) => ({ name, says: lastLine }));
      this.options.tell(this.#watch.waiting(steadyNow() - startedAtMs, processes));
      timer = setTimeout(say, everyMs);
    };
    let timer = setTimeout(say, everyMs);
    return () => clearTimeout(timer);
  }
}

const keeperScript = 'src/cli/nats-keeper.js';

/** Longest drain of any service, and a margin for what comes after it. */
function graceOf({ coordinator, worker, meta }: Config): number {
  return Math.max(coordinator.drainGraceMs, worker.drainGraceMs, meta.drainGraceMs) + 2 * limits.shutdownMarginMs;
}

function set(key: string, value: unknown): string[] {
  return ['--set', `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`];
}

function told(fact: string | undefined, name: string): string {
  if (fact === undefined) throw new Error(`${name} told no address`);
  return fact;
}

async function claimed(setting: string, listen: string, other: string): Promise<string> {
  const claimed = await claim(listen);
  if (claimed.kind === 'free') return claimed.listen;
  throw new CliError(
    `cannot listen at ${listen} (${setting}): ${claimed.reason}\n  is another cluster running? \`grm status\` shows it; ${other} takes any free port`,
  );
}

function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
