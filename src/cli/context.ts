// Context: what every command starts from: the configuration, and how to reach a cluster.

import { readFileSync } from 'node:fs';
import { problemText, resolveConfig, type Resolved } from '../process/config.js';
import { environment } from '../process/environment.js';
import { exitCodes, type ExitCode } from '../process/run.js';
import type { NamedFlag, Preset } from '../process/sources.js';
import { GrmClient, GrmError, type ClientTls, type ConnectOptions, type RetryPolicy } from '../rpc/client.js';
import { runningCluster } from './folder.js';

/** Ends a command with a message and an exit code. */
export class CliError extends Error {
  constructor(
    message: string,
    readonly code: ExitCode = exitCodes.failure,
  ) {
    super(message);
  }
}

/** Options that every command takes. */
export interface GlobalOptions {
  readonly config?: string;
  readonly set?: readonly string[];
  readonly address?: string;
  readonly tokenFile?: string;
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
  readonly tenant?: string;
  readonly json?: boolean;
}

export type ResolvedConfig = Extract<Resolved, { kind: 'ok' }>;

/** Reads the configuration; all problems at once, exit code 2. */
export function readConfig(options: GlobalOptions, named: readonly NamedFlag[] = [], preset?: Preset): ResolvedConfig {
  const resolved = resolveConfig({
    ...(options.config !== undefined && { file: options.config }),
    env: environment(),
    flags: { set: options.set ?? [], named },
    ...(preset && { preset }),
  });
  if (resolved.kind === 'ok') return resolved;
  throw new CliError(
    ['the configuration is wrong:', ...resolved.problems.map((problem) => `  ${problemText(problem)}`)].join('\n'),
    exitCodes.usage,
  );
}

/** What carries this configuration to a service process. */
export function configArgs(options: GlobalOptions): string[] {
  return [
    ...(options.config !== undefined ? ['--config', options.config] : []),
    ...(options.set ?? []).flatMap((each) => ['--set', each]),
  ];
}

export interface Door {
  readonly address: string;
  /** It is that of our own configuration: a cluster of this folder, or of this machine. */
  readonly own: boolean;
  /** A `grm up` of this folder has not opened its door yet. */
  readonly starting?: true;
}

/** Where the cluster's gRPC door is: --address, else GRM_ADDRESS, else that of the `grm up` of this folder, else the configuration's. */
export function doorOf(options: GlobalOptions, { config }: ResolvedConfig): Door {
  const given = options.address ?? environment().GRM_ADDRESS;
  if (given !== undefined && given !== '') return { address: given, own: false };
  const running = runningCluster(config.up.dataDir);
  if (running?.grpc !== undefined) return { address: reachable(running.grpc), own: true };
  return { address: reachable(config.grpc.listen), own: true, ...(running && { starting: true }) };
}

/** An address to call for an address to listen at: "all interfaces" is none that can be called everywhere. */
export function reachable(listen: string): string {
  return listen.replace(/^0\.0\.0\.0:/, '127.0.0.1:').replace(/^\[::\]:/, '[::1]:');
}

/** A person waits: a service that is away is told of within a second or two. Long work takes the client's own patience, about a minute. */
const impatient: Partial<RetryPolicy> = { triesMax: 4, backoffMs: 200, backoffMsMax: 500 };

export function connect(
  options: GlobalOptions,
  resolved: ResolvedConfig,
  door: Door,
  patience: 'short' | 'long' = 'short',
  more: Pick<ConnectOptions, 'allowJudgeChange'> = {},
): GrmClient {
  const tls = tlsOf(options, resolved, door);
  const token = tokenOf(options, resolved, door);
  try {
    return GrmClient.connect({
      address: door.address,
      ...(tls && { tls }),
      ...(token !== undefined && { token }),
      ...(options.tenant !== undefined && { tenant: options.tenant }),
      ...(patience === 'short' && { retries: impatient }),
      ...more,
    });
  } catch (error) {
    throw new CliError(`TLS: ${error instanceof Error ? error.message : String(error)}`, exitCodes.usage);
  }
}

/** Our own door's certificate is trusted as it stands in the configuration. */
function tlsOf(options: GlobalOptions, { config }: ResolvedConfig, door: Door): ClientTls | undefined {
  const { certFile, keyFile } = options;
  const caFile = options.caFile ?? (door.own ? config.grpc.tls?.certFile : undefined);
  if ((certFile === undefined) !== (keyFile === undefined))
    throw new CliError('--cert-file and --key-file are given together or not at all', exitCodes.usage);
  if (caFile === undefined && certFile === undefined) return undefined;
  return {
    ...(caFile !== undefined && { caFile }),
    ...(certFile !== undefined && { certFile }),
    ...(keyFile !== undefined && { keyFile }),
  };
}

/** --token-file, else GRM_TOKEN, else at our own door a token of the configuration that may do everything. */
function tokenOf(options: GlobalOptions, { config }: ResolvedConfig, door: Door): string | undefined {
  if (options.tokenFile !== undefined) return readToken(options.tokenFile);
  const given = environment().GRM_TOKEN;
  if (given !== undefined && given !== '') return given;
  if (!door.own) return undefined;
  const { tokens } = config.grpc;
  return (tokens.find(({ tenants }) => tenants === undefined) ?? tokens[0])?.token.reveal();
}

function readToken(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    throw new CliError(`--token-file: ${error instanceof Error ? error.message : String(error)}`, exitCodes.usage);
  }
}

export interface Failure {
  readonly message: string;
  readonly code: ExitCode;
}

/** The message and exit code of whatever a command failed with. */
export function failureOf(error: unknown, door?: Door): Failure {
  if (error instanceof CliError) return { message: error.message, code: error.code };
  if (!(error instanceof GrmError))
    return { message: error instanceof Error ? error.message : String(error), code: exitCodes.failure };
  if (error.kind === 'unreachable' && door) {
    const message = `no coordinator answers at ${door.address}: ${causeOf(error.message)}`;
    const hint = door.starting ? '\n  the `grm up` of this folder is still starting' : hints.unreachable;
    return { message: `${message}${hint}`, code: exitCodes.unavailable };
  }
  const where = door === undefined ? '' : ` (${door.address})`;
  const fields = error.violations.map(({ field, description }) => `\n  ${field}: ${description}`).join('');
  const hint = error.kind === 'unauthenticated' ? hints.unauthenticated : '';
  return {
    message: `${error.kind}: ${error.message}${where}${fields}${hint}`,
    code: codes[error.kind] ?? exitCodes.failure,
  };
}

/** The gRPC library wraps the one fact in words about its balancer. */
export function causeOf(message: string): string {
  const causes = [...message.matchAll(/Last error: (?:Error: )?(.+?)(?=\. (?:Last error|Resolution note)|$)/g)];
  return causes.at(-1)?.[1] ?? message;
}

const hints = {
  unreachable:
    '\n  is a cluster running? `grm up` starts one, `grm doctor` looks for what is wrong, --address names another\n  a door with TLS is reached with --ca-file, and one that asks for certificates with --cert-file and --key-file',
  unauthenticated: '\n  give a token with --token-file or GRM_TOKEN',
} as const;

const codes: Partial<Record<GrmError['kind'], ExitCode>> = {
  unreachable: exitCodes.unavailable,
  no_engine: exitCodes.unavailable,
  queue_unavailable: exitCodes.unavailable,
  draining: exitCodes.unavailable,
  clock_off: exitCodes.unavailable,
  overloaded: exitCodes.unavailable,
  deadline_exceeded: exitCodes.unavailable,
  invalid_request: exitCodes.usage,
  cancelled: exitCodes.interrupted,
};
