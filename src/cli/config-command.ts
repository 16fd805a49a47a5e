// grm config print: every setting, its value, and where it came from.

import type { Command } from 'commander';
import { shownSettings } from '../process/config.js';
import { exitCodes } from '../process/run.js';
import { sourceText } from '../process/sources.js';
import { readConfig } from './context.js';
import { paint } from './paint.js';
import { table } from './render.js';
import type { Session } from './session.js';

export function addConfig(program: Command, session: Session): void {
  program
    .command('config')
    .description('the configuration')
    .command('print')
    .description('every setting with its value and where it came from; secrets are not shown')
    .action(() =>
      session.run(() => {
        const { config, sources } = readConfig(session.options);
        const rows = shownSettings(config, sources);
        session.show(
          Object.fromEntries(rows.map(({ key, value, source }) => [key, { value, source: sourceText(source) }])),
          () =>
            table(
              ['setting', 'value', 'from'],
              rows.map(({ key, value, source }) => [
                key,
                value,
                source.kind === 'default' ? { painted: paint.dim('default') } : sourceText(source),
              ]),
            ),
        );
        return Promise.resolve(exitCodes.ok);
      }),
    );
}
