// Prompts: the templates of this configuration, found by the hash that verdicts name.

import { parseTemplate, type Template } from '../grm/prompt.js';
import { exitCodes } from '../process/run.js';
import type { Config } from '../process/schema.js';
import { loadGrmTemplates } from '../process/templates.js';
import { CliError } from './context.js';

export class Prompts {
  private constructor(
    private readonly known: ReadonlyMap<string, Template>,
    private readonly names: readonly string[],
  ) {}

  /** Throws CliError (usage) for a file that cannot be read or is no template. */
  static async load(config: Config): Promise<Prompts> {
    const loaded = await loadGrmTemplates(config).catch((error: unknown) => {
      throw new CliError(error instanceof Error ? error.message : String(error), exitCodes.usage);
    });
    const known = new Map<string, Template>();
    for (const { hash, text } of loaded) {
      const parsed = parseTemplate(text);
      if (parsed.kind === 'ok') known.set(hash, parsed.template);
    }
    return new Prompts(
      known,
      loaded.map(({ name, hash }) => `${name} ${hash.slice(0, 12)}`),
    );
  }

  /** Throws CliError (usage): a prompt that nobody asked must not stand in training data. */
  get(hash: string): Template {
    const template = this.known.get(hash);
    if (template) return template;
    throw new CliError(
      `the cluster judged with the prompt template ${hash.slice(0, 12)}, which is none of this configuration (${this.names.join(', ')})\n` +
        '  give the one that its coordinators have: --set templates.grm=nano for the nano judge, or a file; or templates.extra',
      exitCodes.usage,
    );
  }
}
