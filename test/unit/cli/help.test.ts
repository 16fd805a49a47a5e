// Golden help of every command. `npx vitest run test/unit/cli/help.test.ts -u` writes it anew.

import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { grmProgram } from '../../../src/cli/program.js';

const goldenDir = join(import.meta.dirname, '../../golden/help');

/** "grm", "grm dead", "grm dead list" ... */
function commands(command: Command, path: readonly string[] = []): (readonly [string, Command])[] {
  const here = [...path, command.name()];
  return [[here.join(' '), command] as const, ...command.commands.flatMap((each) => commands(each, here))];
}

function helpOf(command: Command): string {
  let text = '';
  command.configureOutput({ writeOut: (part) => (text += part) });
  command.outputHelp();
  return text;
}

const all = commands(grmProgram());

describe('help', () => {
  it.each(all)('%s --help', async (name, command) => {
    await expect(helpOf(command)).toMatchFileSnapshot(join(goldenDir, `${name.replaceAll(' ', '-')}.txt`));
  });

  it('has a file for each command and none beside', () => {
    const files = all.map(([name]) => `${name.replaceAll(' ', '-')}.txt`);
    expect(readdirSync(goldenDir).sort()).toEqual(files.sort());
  });

  it('is no wider than it says, and explains every command and option', () => {
    for (const [name, command] of all) {
      for (const line of helpOf(command).split('\n')) expect(line.length, `${name}: ${line}`).toBeLessThanOrEqual(110);
      expect(command.description(), name).not.toBe('');
      for (const option of command.options) expect(option.description, `${name} ${option.flags}`).not.toBe('');
      for (const argument of command.registeredArguments)
        expect(argument.description, `${name} ${argument.name()}`).not.toBe('');
    }
  });
});
