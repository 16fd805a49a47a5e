// The commands `grm spct ...`: the data half of training a GRM and its meta RM.

import { Option, type Command } from 'commander';
import { limits } from '../limits.js';
import { balances } from '../spct/balance.js';
import { decimal, whole, type Session } from './session.js';
import { metaData, type MetaFlags } from './spct-meta.js';
import { reward, type RewardFlags } from './spct-reward.js';
import { rft, type RftFlags } from './spct-rft.js';
import { addSampleOptions } from './spct-run.js';

/** The paper's N_RFT. Temperature 1 is the model's own distribution, which rejection then shapes. */
const rftDefaults = { samples: 3, temperature: 1, seed: 0 } as const;
/** As the GRM is sampled in service, where the meta RM will rank it; and not the samples that RFT has drawn. */
const freshDefaults = { samples: 8, temperature: 0.5, seed: 1 } as const;

export function addSpct(program: Command, session: Session): void {
  const spct = program
    .command('spct')
    .description('training data for a GRM and its meta RM, drawn from a running cluster (docs/spct-data.md)');
  addRft(spct, session);
  addReward(spct, session);
  addMetaData(spct, session);
}

function addRft(spct: Command, session: Session): void {
  const command = spct
    .command('rft')
    .argument('<items>', 'JSONL items: {"query": ..., "responses": [...], "labels": [...] or "best": index}')
    .description('sample labelled items, keep correct trajectories of items that are not too easy, write chat rows')
    .requiredOption('--out <file>', 'chat rows: {"messages": [...], ...}');
  addSampleOptions(command, rftDefaults)
    .option('--hinted <n>', 'further trajectories whose prompt names the best response', whole(0, limits.kMax), 0)
    .option('--trajectories <file>', 'all trajectories; a later run goes on here (default: beside --out)')
    .option('--prompts <file>', 'the prompt set for RL: a row per item, {"prompt": [...], "labels": [...], ...}')
    .option('--report <file>', 'counts, as JSON')
    .option('--keep-easy', 'keep items of which all trajectories are correct')
    .action((items: string, flags: RftFlags) => session.run(() => rft(session, items, flags)));
}

function addReward(spct: Command, session: Session): void {
  spct
    .command('reward')
    .argument(
      '[file]',
      'JSONL rows: {"completion": ..., "labels": [...] or "best": index with "n"}; "-": standard input',
    )
    .description('the rule-based reward, +1 or -1, over a file or as an HTTP door')
    .option('--out <file>', 'write here and go on where an earlier run stopped (default: standard output)')
    .option('--listen <host:port>', 'serve POST /spct/reward instead; port 0 takes any free one')
    .option('--require-token-file <file>', 'file with the bearer token that callers must show')
    .option('--insecure', 'let other machines in without a token')
    .action((file: string | undefined, flags: RewardFlags) => session.run(() => reward(session, file, flags)));
}

function addMetaData(spct: Command, session: Session): void {
  const command = spct
    .command('meta-data')
    .argument('[trajectories...]', 'trajectories files, as `grm spct rft` writes them')
    .description('label trajectories for the meta RM, correct or incorrect, split by item')
    .requiredOption('--out <file>', 'rows; with {split} in its name a file for each part')
    .addOption(
      new Option('--balance <how>', 'what to do about a larger class in training').choices(balances).default('weight'),
    )
    .option('--validation <share>', 'share of items', decimal(0, 1), 0.05)
    .option('--test <share>', 'share of items', decimal(0, 1), 0.05)
    .addOption(
      new Option('--split-by <what>', 'what never stands on two sides: an item, or all items of a query')
        .choices(['item', 'query'])
        .default('item'),
    )
    .option('--split-seed <n>', 'another seed makes other parts', whole(0, 0xffff_ffff), 0)
    .option('--report <file>', 'counts, as JSON')
    .option(
      '--fresh <items>',
      'sample these items as well, through the running cluster; the options below are for them',
    )
    .option('--fresh-trajectories <file>', 'where they go; a later run goes on here (default: beside --out)');
  addSampleOptions(command, freshDefaults).action((files: string[], flags: MetaFlags) =>
    session.run(() => metaData(session, files, flags)),
  );
}
