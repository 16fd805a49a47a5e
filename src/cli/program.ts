// The program `grm`: its commands in the order of its help, and the options that all of them take.

import { Command } from 'commander';
import { version } from '../process/version.js';
import { addConfig } from './config-command.js';
import { addDoctor } from './doctor-command.js';
import { addInspect, addOperate } from './operate.js';
import { addScore } from './score-command.js';
import { Reader } from './reader.js';
import { Session } from './session.js';
import { addSpct } from './spct-command.js';
import { addUp } from './up.js';

/** Help is as wide everywhere: it stands in golden files. */
const helpWidth = 110;

export function grmProgram(reader: Reader = new Reader()): Command {
  const program = new Command('grm');
  program
    .description('Scores responses with a cluster of generative reward models.')
    .version(version)
    .option('--config <file>', 'configuration file (default: GRM_CONFIG, else ./grm.yaml if there is one)')
    .option(
      '--set <key=value>',
      'one setting, such as defaults.k=16; may be repeated',
      (each: string, all: string[] | undefined) => [...(all ?? []), each],
    )
    .option(
      '--address <host:port>',
      "the cluster's gRPC door (default: GRM_ADDRESS, a running `grm up`, else grpc.listen)",
    )
    .option('--token-file <file>', 'file with the bearer token (default: GRM_TOKEN)')
    .option('--ca-file <file>', 'connect with TLS and trust this authority')
    .option('--cert-file <file>', 'our certificate, for a door that asks for one; with --key-file')
    .option('--key-file <file>', 'its key')
    .option('--tenant <name>', 'who asks')
    .option('--json', 'JSON instead of text')
    .showHelpAfterError('(see --help)')
    .configureHelp({ helpWidth, showGlobalOptions: true })
    .configureOutput({ getOutHasColors: () => false, getErrHasColors: () => false })
    .addHelpText('after', exitCodesText)
    .exitOverride();
  const session = new Session(program);
  program.commandsGroup('Run a cluster:');
  addUp(program, session, reader);
  program.commandsGroup('Score:');
  addScore(program, session);
  addInspect(program, session);
  program.commandsGroup('Train:');
  addSpct(program, session);
  program.commandsGroup('Look and steer:');
  addOperate(program, session);
  addDoctor(program, session);
  addConfig(program, session);
  program.commandsGroup('Help:').helpCommand('help [command]', 'display help for command');
  return program;
}

const exitCodesText = `
Exit codes:
  0    done
  1    something failed, and standard error says what; for score: rows without a verdict
  2    wrong options, files or configuration: nothing was started
  3    the cluster, or NATS, does not answer: later it may
  4    stopped with work still running; other processes have it
  130  interrupted by Ctrl-C (143: by SIGTERM)`;
