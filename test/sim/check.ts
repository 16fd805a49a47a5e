// Check: judges the history of one simulation. Each rule names the promise (ARCHITECTURE.md) that it stands for; an empty list is a pass.

import type { Verdict } from '../../src/grm/verdict.js';
import { limits } from '../../src/limits.js';
import { encodeSample } from '../../src/queue/codec.js';
import type { Allowance } from './allowance.js';
import { fairness } from './fairness.js';
import { essence, gist } from './gist.js';
import type { Entry } from './history.js';

export interface Judged {
  readonly entries: readonly Entry[];
  /** As the ledger holds them at the end. */
  readonly verdicts: ReadonlyMap<string, Verdict>;
  /** Of an undisturbed run with the same seed; absent: not compared. */
  readonly undisturbed: ReadonlyMap<string, Verdict>;
  readonly allowed: (request: string) => Allowance;
}

export type Rule =
  | 'P1 answered'
  | 'P2 one effect'
  | 'one verdict'
  | 'P3 equal'
  | 'P4 bounded'
  | 'P5 quarantine'
  | 'P7 audit'
  | 'told'
  | 'rest'
  | 'fair';

export interface Complaint {
  readonly rule: Rule;
  readonly message: string;
}

type Of<K extends Entry['kind']> = Extract<Entry, { kind: K }>;
type Ledger = Of<'ledger'>;

export function check(judged: Judged): readonly Complaint[] {
  const complaints: Complaint[] = [];
  const rules: Record<Rule, (judged: Judged, complain: (message: string) => void) => void> = {
    'P1 answered': answered,
    'P2 one effect': oneEffect,
    'one verdict': oneVerdict,
    'P3 equal': equal,
    'P4 bounded': bounded,
    'P5 quarantine': quarantined,
    'P7 audit': audited,
    told,
    rest,
    fair: ({ entries }, complain) => fairness(entries).forEach(complain),
  };
  for (const [rule, judge] of Object.entries(rules) as [Rule, (typeof rules)[Rule]][]) {
    judge(judged, (message) => complaints.push({ rule, message }));
  }
  return complaints;
}

function of<K extends Entry['kind']>(entries: readonly Entry[], kind: K): readonly Of<K>[] {
  return entries.filter((entry): entry is Of<K> => entry.kind === kind);
}

/** Accepted requests have a verdict, unless they were given up for a reason that a caller knows; who waits gets it. */
function answered({ entries, verdicts, allowed }: Judged, complain: (message: string) => void): void {
  const records = new Map<string, boolean>();
  for (const { request, what, how } of of(entries, 'ledger')) {
    if (what === 'record') records.set(request, how !== 'purged');
  }
  for (const [request, isThere] of records) {
    if (verdicts.has(request)) continue;
    if (isThere) complain(`${request} was accepted and has no verdict`);
    else if (!allowed(request).mayBeForgotten) complain(`${request} was accepted, forgotten and never answered`);
  }
  const done = of(entries, 'done');
  for (const { request, caller, how } of done) {
    if (how === 'tired') complain(`${caller} gave up: it was told that ${request} can never be answered`);
  }
  const ended = new Set(done.map(({ caller }) => caller));
  for (const caller of new Set(of(entries, 'asked').map((each) => each.caller))) {
    if (!ended.has(caller)) complain(`${caller} still waits`);
  }
}

/** A sample, meta reward or verdict is stored once and never changes; nothing is drawn before the request is stored, nor without a look. */
function oneEffect({ entries }: Judged, complain: (message: string) => void): void {
  const stored = new Set<string>();
  const accepted = new Set<string>();
  for (const entry of entries) {
    if (entry.kind === 'drawn') {
      const { request, index, worker, lookedAtMs } = entry;
      if (!accepted.has(request)) complain(`${worker} draws ${request} before it was accepted`);
      if (lookedAtMs === undefined)
        complain(`${worker} draws sample ${index} of ${request} without a look at the ledger`);
    }
    if (entry.kind !== 'ledger') continue;
    const what = nameOf(entry);
    if (entry.what === 'record') accepted.add(entry.request);
    else if (entry.how === 'purged') complain(`${what} was removed by ${entry.by}`);
    if (entry.how === 'changed') complain(`${what} was changed by ${entry.by}`);
    if (entry.how === 'stored' && stored.has(what))
      complain(`${what} was stored twice, the second time by ${entry.by}`);
    if (entry.how === 'purged') stored.delete(what);
    else stored.add(what);
  }
}

function nameOf({ request, what, unit }: Ledger): string {
  return `${what}${unit === undefined ? '' : ` ${unit}`} of ${request}`;
}

/** Every verdict that a caller is told is the stored one, and stored before (S1); one that is invalid for want of time is not stored (S3), nor what one caller is told early (I5). */
function oneVerdict({ entries, allowed }: Judged, complain: (message: string) => void): void {
  const stored = new Map<string, string>();
  const told = new Map<string, string>();
  for (const entry of entries) {
    if (entry.kind === 'ledger' && entry.what === 'verdict' && entry.how !== 'purged') {
      stored.set(entry.request, entry.value);
    }
    if (entry.kind !== 'answered' || entry.outcome.kind !== 'verdict') continue;
    const { request, caller, outcome } = entry;
    const there = stored.get(request);
    if (there === outcome.value) {
      told.set(request, outcome.value);
      continue;
    }
    const { degraded, early } = allowed(request);
    const isEarly = early === true && outcome.summary.includes('time_budget');
    const cut = isEarly || (outcome.summary.startsWith('invalid') && degraded.has('time_budget'));
    if (there !== undefined && !cut) complain(`${caller} was told another verdict than the stored one`);
    else if (!cut) complain(`${caller} was told a verdict that was not stored`);
  }
  for (const [request, value] of told) {
    if (stored.get(request) !== value) complain(`the verdict of ${request} that was told is not the one that stayed`);
  }
}

/** Samples, meta rewards and votes are those of an undisturbed run, wherever they are there. */
function equal({ entries, verdicts, undisturbed, allowed }: Judged, complain: (message: string) => void): void {
  const dead = new Set(of(entries, 'dead letter').map(({ request }) => request));
  for (const [request, verdict] of verdicts) {
    const expected = undisturbed.get(request);
    if (!expected) continue;
    const short = verdict.degraded.filter((why) => !expected.degraded.includes(why));
    // Where time or a lost meta RM cut a request with adaptive k, what was asked for ahead of its rule is in the verdict, the invalid samples too.
    const isCut = verdict.degraded.some((why) => why === 'time_budget' || why.startsWith('meta_'));
    const ahead = verdict.stopping !== undefined && isCut;
    for (const why of short) {
      const mayBe =
        allowed(request).degraded.has(why) ||
        (dead.has(request) && why !== 'time_budget') ||
        (ahead && why === 'samples_invalid');
      if (!mayBe) complain(`${request} is degraded by ${why} for no reason`);
    }
    const samples = new Map(expected.samples.map((each) => [each.sample.index, each]));
    let unranked = 0;
    for (const { sample, metaReward } of verdict.samples) {
      const other = samples.get(sample.index);
      const isDead = sample.kind === 'invalid' && sample.reason === 'dead_letter' && dead.has(request);
      // An invalid sample that stands for a dead shard may let the rule of adaptive k draw on.
      if (!other && (ahead || (verdict.stopping && dead.has(request)))) continue;
      if (!other || (!isDead && essence(sample) !== essence(other.sample))) {
        complain(`sample ${sample.index} of ${request} is not that of an undisturbed run`);
      } else if (metaReward !== undefined && metaReward !== other.metaReward) {
        complain(`the meta reward of sample ${sample.index} of ${request} is not that of an undisturbed run`);
      } else if (sample.kind === 'scored' && metaReward === undefined && other.metaReward !== undefined) unranked++;
    }
    // A meta reward may be missing in both, and another one in this run alone.
    if (unranked > 0 && !verdict.degraded.some((why) => why.startsWith('meta_'))) {
      complain(`${request} lacks ${unranked} meta rewards and does not say so`);
    }
    if (short.length === 0 && unranked === 0 && !dead.has(request) && gist(verdict) !== gist(expected)) {
      complain(`the verdict of ${request} is ${gist(verdict)}; undisturbed it is ${gist(expected)}`);
    }
  }
}

function bounded({ entries }: Judged, complain: (message: string) => void): void {
  for (const { what, count, max } of of(entries, 'held')) {
    if (count > max) complain(`${what}: ${count}, at most ${max}`);
  }
}

/** Nothing is quarantined before its tries are used up. */
function quarantined({ entries }: Judged, complain: (message: string) => void): void {
  for (const { request, stage, unit, deliveries, reason } of of(entries, 'dead letter')) {
    if (deliveries < limits.deliveriesMax) {
      complain(`${stage} ${unit} of ${request} was quarantined after ${deliveries} deliveries: ${reason}`);
    }
  }
}

/** A verdict is made of what the ledger holds, and callers saw pass what it holds. */
function audited({ entries, verdicts }: Judged, complain: (message: string) => void): void {
  const samples = new Map<string, string>();
  for (const { what, how, request, unit, value } of of(entries, 'ledger')) {
    if (what === 'sample' && how !== 'purged') samples.set(`${request} ${unit}`, value);
  }
  for (const [request, verdict] of verdicts) {
    for (const { sample } of verdict.samples) {
      if (samples.get(`${request} ${sample.index}`) !== Buffer.from(encodeSample(sample)).toString('latin1')) {
        complain(`sample ${sample.index} in the verdict of ${request} is not the stored one`);
      }
    }
  }
  const seen = new Set<string>();
  for (const { request, caller, call, index, value } of of(entries, 'watched')) {
    if (samples.get(`${request} ${index}`) !== value)
      complain(`${caller} saw a sample ${index} that is not the stored one`);
    const key = `${caller} ${call} ${index}`;
    if (seen.has(key)) complain(`${caller} saw sample ${index} twice in one call`);
    seen.add(key);
  }
}

/** Callers are told only what the scenario gives cause for, and nobody's log tells of a bug. */
function told({ entries, allowed }: Judged, complain: (message: string) => void): void {
  for (const { caller, request, outcome } of of(entries, 'answered')) {
    if (outcome.kind !== 'fault') continue;
    if (!(allowed(request).faults as ReadonlySet<string>).has(outcome.fault)) {
      complain(`${caller} was told ${outcome.fault} for no reason: ${outcome.message}`);
    }
  }
  for (const { node, where, message, bug } of of(entries, 'trouble')) {
    if (bug) complain(`${node} has trouble at ${where}: ${message}`);
  }
}

function rest({ entries }: Judged, complain: (message: string) => void): void {
  const ends = of(entries, 'rest');
  if (ends.length === 0) complain('it never came to rest');
  for (const { settled, open } of ends) if (!settled) complain(`it does not come to rest: ${open}`);
}
