// Notice: what `grm up` tells: lines for people, one JSON object a line with --json.

import type { EngineNews } from './service.js';
import { clockText } from './pace.js';
import type { Paint } from './paint.js';
import { oneLine, printable } from './printable.js';

export type Notice =
  | { readonly event: 'fake_engine'; readonly why: string }
  | { readonly event: 'judge'; readonly model: string; readonly meta_model: string | null; readonly nano: boolean }
  | { readonly event: 'left_behind'; readonly processes: readonly string[] }
  | { readonly event: 'nats_given'; readonly servers: string }
  | { readonly event: 'nats_silent'; readonly servers: string; readonly reason: string }
  | {
      readonly event: 'process_ready';
      readonly name: string;
      readonly pid: number;
      readonly facts: Readonly<Record<string, string>>;
    }
  | {
      readonly event: 'process_ended';
      readonly name: string;
      readonly reason: string;
      readonly again_in_ms: number | null;
    }
  | {
      readonly event: 'engine_failed';
      readonly engine: string;
      readonly state: string;
      readonly reason: string;
      readonly restarts: number;
    }
  | { readonly event: 'engine_serves'; readonly engine: string; readonly restarts: number }
  | Waiting
  | {
      readonly event: 'ready';
      readonly grpc: string;
      readonly nats: string;
      readonly metrics: string;
      readonly data_dir: string;
      readonly pids: Readonly<Record<string, number>>;
    }
  | { readonly event: 'draining'; readonly waiting_for: readonly string[] }
  | { readonly event: 'killing' }
  | { readonly event: 'failed'; readonly reason: string }
  | { readonly event: 'stopped' };

/** Until every worker serves. */
export interface Waiting {
  readonly event: 'waiting';
  readonly workers: number;
  readonly workers_wanted: number;
  readonly meta_workers: number;
  readonly meta_workers_wanted: number;
  readonly elapsed_seconds: number;
  /** Processes that are not ready yet, with their last words. */
  readonly processes: readonly { readonly name: string; readonly says: string }[];
  readonly engines: readonly WaitingEngine[];
}

export interface WaitingEngine extends Pick<EngineNews, 'state' | 'restarts'> {
  readonly engine: string;
  readonly doing: string;
  readonly done_ratio: number | null;
  readonly eta_seconds: number | null;
}

export interface Teller {
  tell(notice: Notice): void;
  /** Text that is none of ours: a service's log line. */
  pass(line: string): void;
  /** Takes back a state that stands on the terminal, before somebody else writes there. */
  clear(): void;
}

export interface TellerOptions {
  readonly json: boolean;
  /** Of texts. */
  readonly stream: NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number };
  /** Of JSON: `grm up --json` has no other result. */
  readonly jsonStream: NodeJS.WritableStream;
  readonly paint: Paint;
}

export function openTeller({ json, stream, jsonStream, paint }: TellerOptions): Teller {
  const line = (text: string): void => {
    stream.write(`${stream.isTTY ? clearLine : ''}${text}\n`);
  };
  return {
    tell(notice) {
      if (json) {
        jsonStream.write(`${JSON.stringify(notice)}\n`);
        return;
      }
      const text = noticeText(notice, paint);
      // On a terminal the state of the waiting stays on one line, and goes with the next word.
      if (notice.event === 'waiting' && stream.isTTY)
        stream.write(`${clearLine}${oneLine(text, (stream.columns ?? 80) - 1)}`);
      else line(text);
    },
    pass: line,
    clear: () => {
      if (stream.isTTY && !json) stream.write(clearLine);
    },
  };
}

const clearLine = '\r\u001b[K';

export function noticeText(notice: Notice, paint: Paint): string {
  switch (notice.event) {
    case 'fake_engine':
      return paint.bold(
        `FAKE ENGINE: ${notice.why}. Its judgements are invented; they show the cluster at work, not a judge.`,
      );
    case 'judge':
      return judgeText(notice);
    case 'left_behind':
      return `an earlier \`grm up\` was killed; waiting for what it left behind to end: ${notice.processes.join(', ')}`;
    case 'nats_given':
      return `${'nats'.padEnd(14)} at ${notice.servers}, which is not ours to start or stop`;
    case 'nats_silent':
      return `${paint.yellow('nats')} does not answer at ${notice.servers} (${printable(notice.reason)}); it is waited for`;
    case 'process_ready':
      return `${notice.name.padEnd(14)} ${Object.entries(notice.facts)
        .map(([name, value]) => `${name} ${value}`)
        .join(', ')}`;
    case 'process_ended':
      return `${paint.yellow(notice.name)} ended (${printable(notice.reason)})${
        notice.again_in_ms === null ? ' too often: given up' : `; starting it again in ${notice.again_in_ms / 1_000} s`
      }`;
    case 'engine_failed':
      return `${paint.red(notice.engine)} ${notice.state}: ${printable(notice.reason)}`;
    case 'engine_serves':
      return `${paint.green(notice.engine)} serves${notice.restarts > 0 ? ` after ${timesText(notice.restarts)}` : ''}`;
    case 'waiting':
      return waitingText(notice);
    case 'ready':
      return `${paint.green('ready')}: gRPC ${notice.grpc}; \`grm score FILE\`, \`grm status\`; Ctrl-C drains and stops`;
    case 'draining':
      return notice.waiting_for.length === 0
        ? 'draining; Ctrl-C again kills'
        : `draining: ${notice.waiting_for.join(', ')} still at work; Ctrl-C kills`;
    case 'killing':
      return 'killing what is left';
    case 'failed':
      return paint.red(printable(notice.reason));
    case 'stopped':
      return 'stopped';
  }
}

function judgeText({ model, meta_model, nano }: Extract<Notice, { event: 'judge' }>): string {
  const name = 'judge'.padEnd(14);
  if (nano) return `${name} nano, which knows eight small task families and nothing else; --model names a real one`;
  return `${name} ${model}, ${meta_model === null ? 'no meta RM: its scores are summed (--meta-model names one)' : `meta RM ${meta_model}`}`;
}

function waitingText(waiting: Waiting): string {
  const { workers, workers_wanted, meta_workers, meta_workers_wanted, elapsed_seconds, processes, engines } = waiting;
  const meta = meta_workers_wanted > 0 ? `, ${meta_workers} of ${meta_workers_wanted} meta workers` : '';
  const serve = `waiting ${clockText(elapsed_seconds)}: ${workers} of ${workers_wanted} workers${meta} serve`;
  const starting = processes.map(({ name, says }) => `${name} starts${says === '' ? '' : `: ${oneLine(says, 100)}`}`);
  return [serve, ...starting, ...engines.map(engineText)].join('; ');
}

/** Why an engine failed was told when it did. */
function engineText({ engine, state, restarts, doing, done_ratio, eta_seconds }: WaitingEngine): string {
  const does = state === 'starting' && doing !== '' ? ` ${oneLine(doing, 80)}` : '';
  const done = done_ratio === null ? '' : ` ${Math.floor(done_ratio * 100)}%`;
  const eta = eta_seconds === null ? '' : ` ETA ${clockText(eta_seconds)}`;
  const again = restarts > 0 ? ` (${timesText(restarts)})` : '';
  return `${engine} ${state}${does}${done}${eta}${again}`;
}

function timesText(restarts: number): string {
  return restarts === 1 ? '1 restart' : `${restarts} restarts`;
}
