// History: what happened in one simulation, in order, as somebody outside sees it: callers, the server's ledger, the engines, the faults.
// check.ts judges it, and the trace shows it.

/** Everything after `kind` names things by short labels: requests "r0", callers "r0/1", nodes "c1", "w1-2". */
export type Happening =
  /** The world's fault, in words. */
  | { readonly kind: 'fault'; readonly what: string }
  /** A call or message that the network lost, doubled, or answered with an error. */
  | { readonly kind: 'network'; readonly what: string }
  /** What a node said of itself. */
  | { readonly kind: 'said'; readonly node: string; readonly what: string; readonly request?: string }
  | { readonly kind: 'asked'; readonly request: string; readonly caller: string; readonly node: string }
  /** The caller has an answer to one call. `value` is the verdict's bytes. */
  | { readonly kind: 'answered'; readonly request: string; readonly caller: string; readonly outcome: Outcome }
  /** The caller wants nothing any more: it has what it wanted, it went away, or it got no answer in its time. */
  | {
      readonly kind: 'done';
      readonly request: string;
      readonly caller: string;
      readonly how: 'content' | 'left' | 'lost' | 'tired';
    }
  /** A sample as a caller saw it pass. */
  | {
      readonly kind: 'watched';
      readonly request: string;
      readonly caller: string;
      readonly call: number;
      readonly index: number;
      readonly value: string;
    }
  /** The server's ledger: `unit` is a sample's index, or absent. `changed` should never be. */
  | {
      readonly kind: 'ledger';
      readonly how: 'stored' | 'changed' | 'purged';
      readonly what: 'record' | 'sample' | 'meta' | 'verdict';
      readonly request: string;
      readonly unit?: number;
      readonly value: string;
      readonly by: string;
    }
  /** An engine began to draw. `lookedAtMs`: when the server last told this worker that the sample is not there. */
  | {
      readonly kind: 'drawn';
      readonly request: string;
      readonly index: number;
      readonly worker: string;
      readonly lookedAtMs: number | undefined;
    }
  | {
      readonly kind: 'dead letter';
      readonly request: string;
      readonly stage: string;
      readonly unit: number;
      readonly samples: readonly number[];
      readonly deliveries: number;
      readonly reason: string;
    }
  /** So much of something in a process or a queue: never more than `max` (0 for what must be empty when all is over). */
  | { readonly kind: 'held'; readonly what: string; readonly count: number; readonly max: number }
  /** Something unexpected that a node told its log; `bug`: not a fault that the world made. */
  | {
      readonly kind: 'trouble';
      readonly node: string;
      readonly where: string;
      readonly message: string;
      readonly bug: boolean;
    }
  /** A shard at a coordinator's dispatcher. `waits`: it entered the queue; `sent`: it went out; `closed`: waiting shards of its flow were given up. */
  | {
      readonly kind: 'turn';
      readonly how: 'waits' | 'sent' | 'closed';
      readonly node: string;
      readonly flow: string;
      readonly weight: number;
      readonly cost: number;
    }
  /** The faults are over and everything is repaired. */
  | { readonly kind: 'healed' }
  /** Everything came to rest, or did not within the bound. */
  | { readonly kind: 'rest'; readonly settled: boolean; readonly open: string };

export type Outcome =
  | { readonly kind: 'verdict'; readonly value: string; readonly summary: string }
  | { readonly kind: 'fault'; readonly fault: string; readonly message: string };

export type Entry = Happening & { readonly atMs: number };

export class History {
  readonly entries: Entry[] = [];

  constructor(private readonly nowMs: () => number) {}

  add(happening: Happening): void {
    this.entries.push({ ...happening, atMs: this.nowMs() });
  }
}

/** One line per entry, with the time since the start. */
export function trace(entries: readonly Entry[], startMs: number): string {
  return entries
    .map((entry) => `${((entry.atMs - startMs) / 1_000).toFixed(3).padStart(9)}  ${line(entry)}`)
    .join('\n');
}

function line(entry: Entry): string {
  switch (entry.kind) {
    case 'fault':
      return `FAULT    ${entry.what}`;
    case 'network':
      return `network  ${entry.what}`;
    case 'said':
      return `${entry.node.padEnd(8)} ${entry.request ?? ''} ${entry.what}`;
    case 'asked':
      return `${entry.caller.padEnd(8)} asks ${entry.node}`;
    case 'answered':
      return `${entry.caller.padEnd(8)} is told ${entry.outcome.kind === 'verdict' ? `the verdict ${entry.outcome.summary}` : `${entry.outcome.fault}: ${entry.outcome.message}`}`;
    case 'done':
      return `${entry.caller.padEnd(8)} is ${entry.how}`;
    case 'watched':
      return `${entry.caller.padEnd(8)} sees sample ${entry.index}`;
    case 'ledger':
      return `ledger   ${entry.request} ${entry.what}${entry.unit === undefined ? '' : ` ${entry.unit}`} ${entry.how} by ${entry.by}`;
    case 'drawn':
      return `${entry.worker.padEnd(8)} ${entry.request} draws sample ${entry.index}`;
    case 'dead letter':
      return `ledger   ${entry.request} ${entry.stage} ${entry.unit} is dead after ${entry.deliveries} deliveries: ${entry.reason}`;
    case 'held':
      return `held     ${entry.what}: ${entry.count} (at most ${entry.max})`;
    case 'trouble':
      return `${entry.node.padEnd(8)} ${entry.bug ? 'BUG' : 'trouble'} at ${entry.where}: ${entry.message}`;
    case 'turn':
      return `${entry.node.padEnd(8)} ${entry.how} ${entry.cost} of ${entry.flow}`;
    case 'healed':
      return 'HEALED   no more faults; every node runs';
    case 'rest':
      return entry.settled ? 'REST     nothing is under way' : `UNREST   ${entry.open}`;
  }
}
