// Judge: the rules of a chaos run. Those of the simulation (sim/check.ts) judge its history too; here are the ones that it adds.

import type { Verdict } from '../../src/grm/verdict.js';
import { check, type Complaint as SimulationComplaint, type Judged } from '../sim/check.js';
import type { Entry } from '../sim/history.js';

export interface ChaosJudged extends Judged {
  /** Requests that kill whoever works on them. */
  readonly poison: ReadonlySet<string>;
}

export interface Complaint {
  readonly rule: SimulationComplaint['rule'] | 'one answer' | 'P3 compared' | 'P5 poison' | 'P7 numbers';
  readonly message: string;
}

export function judge(judged: ChaosJudged): readonly Complaint[] {
  const complaints: Complaint[] = [...check(judged)];
  const complain = (rule: Complaint['rule']) => (message: string) => void complaints.push({ rule, message });
  oneAnswer(judged.entries, complain('one answer'));
  compared(judged, complain('P3 compared'));
  poisoned(judged, complain('P5 poison'));
  for (const [request, verdict] of judged.verdicts) numbers(request, verdict, complain('P7 numbers'));
  return complaints;
}

/** Every caller's asking ends once, and nothing is told to it afterwards. */
function oneAnswer(entries: readonly Entry[], complain: (message: string) => void): void {
  const done = new Set<string>();
  for (const entry of entries) {
    if (entry.kind !== 'done' && entry.kind !== 'answered' && entry.kind !== 'asked') continue;
    const { caller } = entry;
    if (done.has(caller))
      complain(`${caller} had ended, and then it ${entry.kind === 'asked' ? 'asks' : 'is told more'}`);
    if (entry.kind === 'done') done.add(caller);
  }
}

/** A verdict that nothing is compared with would pass as equal. */
function compared({ verdicts, undisturbed }: ChaosJudged, complain: (message: string) => void): void {
  for (const request of verdicts.keys()) {
    if (!undisturbed.has(request)) complain(`${request} has a verdict, and none in the undisturbed run`);
  }
}

/** A poisonous request is answered with what is not poisonous of it. */
function poisoned({ poison, verdicts }: ChaosJudged, complain: (message: string) => void): void {
  for (const request of poison) {
    const verdict = verdicts.get(request);
    // Without a verdict it is the first rule's.
    if (!verdict) continue;
    const reasons = verdict.samples.flatMap(({ sample }) => (sample.kind === 'invalid' ? [sample.reason] : []));
    if (!reasons.includes('dead_letter')) complain(`${request} is poison and nothing of it was quarantined`);
    if (verdict.kValid === 0) complain(`${request} is poison in one order and has no valid sample in the other`);
  }
}

/** Numbers are within their range; what has none says why. */
function numbers(request: string, verdict: Verdict, complain: (message: string) => void): void {
  const inRange = (value: number): boolean => value >= 1 && value <= 10;
  if (verdict.kind === 'valid' && !verdict.rewards.every(({ value }) => inRange(value))) {
    complain(`${request} has a reward outside 1..10: ${JSON.stringify(verdict.rewards)}`);
  }
  if (verdict.kind === 'valid' && verdict.kValid === 0) complain(`${request} is valid without a valid sample`);
  const indexes = new Set<number>();
  for (const { sample, kept } of verdict.samples) {
    if (indexes.has(sample.index)) complain(`${request} counts sample ${sample.index} twice`);
    indexes.add(sample.index);
    if (sample.kind === 'scored' && !sample.scores.every(inRange)) {
      complain(`sample ${sample.index} of ${request} scores ${sample.scores.join(', ')}`);
    }
    if (sample.kind === 'invalid' && kept === 'kept')
      complain(`sample ${sample.index} of ${request} is invalid and counts`);
  }
}
