// The report counts what was struck and what could not be, and says which faults the machine does not allow, and why.

import { expect, test } from 'vitest';
import { markdown, reportOf, type Told } from './report.js';

const told: Told = {
  seed: 7,
  natsServers: 1,
  natsVersion: '2.9.10',
  seconds: 60,
  entries: [],
  plans: new Map(),
  verdicts: new Map(),
  dead: [],
  strikes: [
    { kind: 'disk full', struck: true },
    { kind: 'disk full', struck: false },
    { kind: 'kill nats', struck: true },
  ],
  barred: new Map([['partition worker', 'Operation not permitted']]),
  engineCalls: 0,
  starts: 0,
  violations: [],
};

test('each kind of fault is counted, as struck or as left out for want of anything to strike', () => {
  const report = reportOf(told);
  expect(report.faults['disk full']).toEqual({ struck: 1, leftOut: 1 });
  expect(report.faults['kill nats']).toEqual({ struck: 1, leftOut: 0 });
  expect(report.faults['partition nats']).toEqual({ struck: 0, leftOut: 0 });
  expect(markdown(report)).toContain('| disk full | 1 | 1 |');
});

test('what the machine does not allow is said with its reason, and is no fault that did not happen to strike', () => {
  const report = reportOf(told);
  expect(report.notAllowed).toEqual({ 'partition worker': 'Operation not permitted' });
  expect(markdown(report)).toContain('- not allowed here: partition worker (Operation not permitted)');
  expect(markdown(report)).not.toContain('| partition worker |');
  expect(markdown(reportOf({ ...told, barred: new Map() }))).not.toContain('not allowed');
});
