// Report: what a chaos run did and found, as JSON and as tables for people.

import type { DeadLetter } from '../../src/work/shard.js';
import type { Verdict } from '../../src/grm/verdict.js';
import type { Entry } from '../sim/history.js';
import type { Complaint } from './judge.js';
import type { RequestPlan } from './load.js';
import { faultKinds, type FaultKind } from './schedule.js';

type Counts = Readonly<Record<string, number>>;

export interface Report {
  readonly seed: number;
  readonly natsServers: number;
  /** "2.9.10" */
  readonly natsVersion: string;
  /** Of the faults and the load; starting, healing and judging come on top. */
  readonly seconds: number;
  /** Struck, and left out because nothing of the kind could be struck at that moment. */
  readonly faults: Readonly<Record<FaultKind, { readonly struck: number; readonly leftOut: number }>>;
  /** Faults that the machine does not allow, and why: none of them is in the schedule. */
  readonly notAllowed: Readonly<Partial<Record<FaultKind, string>>>;
  /** Callers by manner ("poison" apart) and by how their asking ended. */
  readonly callers: Readonly<Record<string, Counts>>;
  /** What callers were told before it ended, by the kind of fault. */
  readonly told: Counts;
  /** Stored verdicts by kind, and by what degraded them. */
  readonly verdicts: Counts;
  readonly samplesStored: number;
  /** Generations and meta calls that the engine took: what was paid for. */
  readonly engineCalls: number;
  /** Quarantined shards of poison, and of others that were in too many hands that died. */
  readonly deadOfPoison: number;
  readonly deadOfOthers: number;
  /** Processes started, the first of each included. */
  readonly starts: number;
  /** Accepted requests with a verdict whose record is not there any more: NATS has lost it, nobody of ours removes it so early. */
  readonly recordsLost: number;
  readonly violations: readonly Complaint[];
}

export interface Told {
  readonly seed: number;
  readonly natsServers: number;
  readonly natsVersion: string;
  readonly seconds: number;
  readonly entries: readonly Entry[];
  readonly plans: ReadonlyMap<string, RequestPlan>;
  readonly verdicts: ReadonlyMap<string, Verdict>;
  readonly dead: readonly DeadLetter[];
  readonly strikes: readonly { readonly kind: FaultKind; readonly struck: boolean }[];
  readonly barred: ReadonlyMap<FaultKind, string>;
  readonly engineCalls: number;
  readonly starts: number;
  readonly violations: readonly Complaint[];
}

export function reportOf(told: Told): Report {
  const { entries, plans, verdicts, dead, strikes } = told;
  const poison = new Set([...plans.values()].flatMap(({ isPoison, requestId }) => (isPoison ? [requestId] : [])));
  const records = new Set(entries.flatMap((each) => (isRecord(each) ? [each.request] : [])));
  const ofPoison = dead.filter(({ requestId }) => poison.has(requestId)).length;
  return {
    seed: told.seed,
    natsServers: told.natsServers,
    natsVersion: told.natsVersion,
    seconds: told.seconds,
    faults: Object.fromEntries(
      faultKinds.map((kind) => {
        const ofKind = strikes.filter((each) => each.kind === kind);
        const struck = ofKind.filter((each) => each.struck).length;
        return [kind, { struck, leftOut: ofKind.length - struck }];
      }),
    ) as Report['faults'],
    notAllowed: Object.fromEntries(told.barred),
    callers: callersOf(entries, plans),
    told: count(entries.flatMap((each) => (isFault(each) ? [each.outcome.fault] : []))),
    verdicts: count(
      [...verdicts.values()].flatMap((each) => [
        each.kind === 'valid' ? 'valid' : `invalid (${each.reason})`,
        ...each.degraded.map((why) => `degraded by ${why}`),
      ]),
    ),
    samplesStored: entries.filter((each) => each.kind === 'ledger' && each.what === 'sample' && each.how === 'stored')
      .length,
    engineCalls: told.engineCalls,
    deadOfPoison: ofPoison,
    deadOfOthers: dead.length - ofPoison,
    starts: told.starts,
    recordsLost: [...verdicts.keys()].filter((request) => !records.has(request)).length,
    violations: told.violations,
  };
}

function isRecord(entry: Entry): entry is Extract<Entry, { kind: 'ledger' }> {
  return entry.kind === 'ledger' && entry.what === 'record' && entry.how === 'stored';
}

type Answered = Extract<Entry, { kind: 'answered' }>;

function isFault(entry: Entry): entry is Answered & { outcome: { kind: 'fault'; fault: string } } {
  return entry.kind === 'answered' && entry.outcome.kind === 'fault';
}

function callersOf(
  entries: readonly Entry[],
  plans: ReadonlyMap<string, RequestPlan>,
): Readonly<Record<string, Counts>> {
  const ends = new Map<string, { manner: string; end: string }>();
  for (const entry of entries) {
    if (entry.kind !== 'asked' && entry.kind !== 'done') continue;
    const plan = plans.get(entry.request);
    const manner = plan?.isPoison ? 'poison' : (plan?.manner ?? 'unknown');
    ends.set(entry.caller, { manner, end: entry.kind === 'done' ? entry.how : 'waits' });
  }
  const manners = [...new Set([...ends.values()].map(({ manner }) => manner))].sort();
  return Object.fromEntries(
    manners.map((each) => [
      each,
      count([...ends.values()].flatMap(({ manner, end }) => (manner === each ? [end] : []))),
    ]),
  );
}

function count(names: readonly string[]): Counts {
  const counts: Record<string, number> = {};
  for (const name of [...names].sort()) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}

/** For people: three tables and what was found. */
export function markdown(report: Report): string {
  const { faults, notAllowed, callers, violations } = report;
  const barred = Object.entries(notAllowed);
  const ends = ['content', 'lost', 'tired', 'waits'];
  return [
    `# Chaos run: seed ${report.seed}, ${report.natsServers} nats-server${report.natsServers === 1 ? '' : 's'} ${report.natsVersion}, ${report.seconds} s`,
    '',
    table(
      ['fault', 'struck', 'left out'],
      Object.entries(faults)
        .filter(([kind]) => !(kind in notAllowed))
        .map(([kind, { struck, leftOut }]) => [kind, struck, leftOut]),
    ),
    ...(barred.length === 0 ? [] : ['', ...barred.map(([kind, why]) => `- not allowed here: ${kind} (${why})`)]),
    '',
    table(
      ['callers', ...ends],
      Object.entries(callers).map(([manner, counts]) => [manner, ...ends.map((end) => counts[end] ?? 0)]),
    ),
    '',
    table(
      ['what', 'count'],
      [
        ...Object.entries(report.verdicts).map(([what, number]) => [`verdicts: ${what}`, number]),
        ...Object.entries(report.told).map(([what, number]) => [`told on the way: ${what}`, number]),
        ['samples stored', report.samplesStored],
        ['engine calls', report.engineCalls],
        ['dead shards of poison', report.deadOfPoison],
        ['dead shards of others', report.deadOfOthers],
        ['processes started', report.starts],
        ['records that NATS lost', report.recordsLost],
        ['violations', violations.length],
      ],
    ),
    ...(violations.length === 0 ? [] : ['', ...violations.map(({ rule, message }) => `- ${rule}: ${message}`)]),
    '',
  ].join('\n');
}

function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const line = (cells: readonly (string | number)[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}
