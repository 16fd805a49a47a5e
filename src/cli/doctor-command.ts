// The command `grm doctor`.

import type { Command } from 'commander';
import { exitCodes } from '../process/run.js';
import { findingText } from './finding.js';
import type { Session } from './session.js';

export function addDoctor(program: Command, session: Session): void {
  program
    .command('doctor')
    .description('check NATS, streams, versions, engines, meta RM and clocks, with a fix for each failure')
    .action(() =>
      session.ask(async (cluster) => {
        // It alone speaks to NATS and to engines: the other commands start faster without that code.
        const { doctor } = await import('./doctor.js');
        const findings = await doctor(cluster, (finding) => {
          if (!session.json) session.print(findingText(finding));
        });
        if (session.json) session.print(JSON.stringify(findings));
        if (cluster.signal.aborted) return exitCodes.interrupted;
        return findings.some(({ result }) => result === 'failed') ? exitCodes.failure : exitCodes.ok;
      }),
    );
}
