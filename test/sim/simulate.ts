// Simulate: one seed from scenario to judgement.

import type { Verdict } from '../../src/grm/verdict.js';
import { allowanceOf } from './allowance.js';
import { check, type Complaint } from './check.js';
import { trace } from './history.js';
import { scenarioOf, undisturbed, type Scenario } from './scenario.js';
import { run, type Ran, type Sabotage } from './world.js';

export interface Simulated extends Ran {
  readonly complaints: readonly Complaint[];
}

export async function simulate(seed: number, sabotage: Sabotage = {}): Promise<Simulated> {
  return simulateScenario(scenarioOf(seed), sabotage);
}

export async function simulateScenario(scenario: Scenario, sabotage: Sabotage = {}): Promise<Simulated> {
  const ran = await run(scenario, sabotage);
  const { verdicts: expected } = await run(undisturbed(scenario));
  return { ...ran, complaints: judge(ran, expected) };
}

export function judge(
  { scenario, entries, verdicts }: Ran,
  expected: ReadonlyMap<string, Verdict>,
): readonly Complaint[] {
  const allowances = new Map(scenario.requests.map((plan) => [plan.name, allowanceOf(scenario, plan)]));
  const complaints = [
    ...check({ entries, verdicts, undisturbed: expected, allowed: (request) => allowances.get(request)! }),
  ];
  for (const { name } of scenario.requests) {
    if (!expected.has(name)) complaints.push({ rule: 'P1 answered', message: `${name} has no verdict undisturbed` });
  }
  return complaints;
}

/** What to print of a seed that failed: what is wrong, and how to see it happen. */
export function report({ scenario, complaints }: Simulated): string {
  const lines = complaints.map(({ rule, message }) => `  ${rule}: ${message}`);
  return [
    `seed ${scenario.seed} breaks ${lines.length} rules; see it with: make sim SEED=${scenario.seed}`,
    ...lines,
  ].join('\n');
}

export function told({ entries, startMs, scenario }: Simulated): string {
  const { requests, faults: _faults, ...rest } = scenario;
  return [JSON.stringify(rest), ...requests.map((each) => JSON.stringify(each)), trace(entries, startMs)].join('\n');
}
