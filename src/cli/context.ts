// Context: what every command starts from: the configuration, the streams, and how to reach a cluster.

import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { problemText, resolveConfig, type Resolved } from '../process/config.js';
import { environment } from '../process/environment.js';
import { exitCodes, type ExitCode } from '../process/run.js';
import type { NamedFlag } from '../process/sources.js';
import { GrmClient } from '../rpc/client.js';
import { GrmError } from '../rpc/grm-error.js';

/** Ends a command with a message and an exit code. */
export class CliError extends Error {
  constructor(
    message: string,
    readonly code: ExitCode = exitCodes.failure,
  ) {
    super(message);
  }
}

/** Options that stand before every command. */
export interface GlobalOptions {
  readonly config?: string;
  readonly set?: readonly string[];
  readonly address?: string;
  readonly tokenFile?: string;
  readonly caFile?: string;
  readonly tenant?: string;
  readonly json?: boolean;
}

export type ResolvedConfig = Extract<Resolved, { kind: 'ok' }>;

/** Reads the configuration; all problems at once, exit code 2. */
export function readConfig(options: GlobalOptions, named: readonly NamedFlag[] = []): ResolvedConfig {
  const resolved = resolveConfig({
    ...(options.config !== undefined && { file: options.config }),
    env: environment(),
    flags: { set: options.set ?? [], named },
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

/** Where the cluster's gRPC door is: --address, else GRM_ADDRESS, else that of the `grm up` of this folder, else the configuration's. */
export function clusterAddress(options: GlobalOptions, { config }: ResolvedConfig): string {
  const given = options.address ?? environment().GRM_ADDRESS;
  if (given !== undefined && given !== '') return given;
  try {
    const { grpc, pid } = JSON.parse(readFileSync(join(resolve(config.up.dataDir), 'cluster.json'), 'utf8')) as {
      grpc: string;
      pid: number;
    };
    process.kill(pid, 0);
    return grpc;
  } catch {
    return config.grpc.listen;
  }
}

export function connect(options: GlobalOptions, resolved: ResolvedConfig): { client: GrmClient; address: string } {
  const address = clusterAddress(options, resolved);
  const token = options.tokenFile !== undefined ? readToken(options.tokenFile) : environment().GRM_TOKEN;
  const client = GrmClient.connect({
    address,
    ...(options.caFile !== undefined && { tls: { caFile: options.caFile } }),
    ...(token !== undefined && { token }),
    ...(options.tenant !== undefined && { tenant: options.tenant }),
  });
  return { client, address };
}

function readToken(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    throw new CliError(`--token-file: ${error instanceof Error ? error.message : String(error)}`, exitCodes.usage);
  }
}

/** The message and exit code of whatever a command failed with. */
export function failureOf(error: unknown, address?: string): { message: string; code: ExitCode } {
  if (error instanceof CliError) return { message: error.message, code: error.code };
  if (error instanceof GrmError) {
    const where = address === undefined ? '' : ` (${address})`;
    const hint =
      error.kind === 'unreachable'
        ? '\n  is a cluster running? `grm up` starts one, `grm doctor` looks for what is wrong'
        : '';
    const fields = error.violations.map(({ field, description }) => `\n  ${field}: ${description}`).join('');
    const away = error.kind === 'unreachable' || error.kind === 'queue_unavailable' || error.kind === 'draining';
    return {
      message: `${error.kind}: ${error.message}${where}${fields}${hint}`,
      code: away ? exitCodes.unavailable : exitCodes.failure,
    };
  }
  return { message: error instanceof Error ? error.message : String(error), code: exitCodes.failure };
}
