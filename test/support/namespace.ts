// A network of its own for a test: whoever is in it runs in a network namespace of its own, with one cable that can be pulled. Nothing is
// reset then and nothing is refused, packets are just gone. Where that is not allowed, `refusalToIsolate` says why.

import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { isAlive } from '../../src/cli/process-table.js';
import { dropAtExit, namesIn, quietly } from './leftovers.js';

const run = promisify(execFile);

export interface Network extends AsyncDisposable {
  /** Under which whoever is in it finds what runs outside, on this machine. */
  readonly hostAddress: string;
  /** At most 253 of them. */
  openNamespace(): Promise<Namespace>;
}

export interface Namespace {
  /** What a command is put behind to run in it. */
  readonly enter: readonly string[];
  /** Under which the others of the network, and this machine, find it. */
  readonly address: string;
  cut(): Promise<void>;
  join(): Promise<void>;
}

/** Of the second half of the networks that are kept free for measurements (RFC 2544), one per last byte but one. */
const networks = 256;
const links = '/sys/class/net';
/** Before the pid of the process that made it, in a bridge's alias. */
const ownerMark = 'test process ';

async function ip(...args: readonly string[]): Promise<void> {
  await run('ip', args);
}

/** Its namespaces go with it: whoever runs in them is to be ended before. */
export async function openNetwork(): Promise<Network> {
  const number = await takeBridge();
  const forget = dropAtExit(() => drop(number));
  const bridge = bridgeOf(number);
  const addressOf = (at: number): string => `198.19.${number}.${at}`;
  const names: string[] = [];
  const close = async (): Promise<void> => {
    // The far end of a cable goes with its near one; at once, though processes there may still be ending.
    for (const at of names.keys()) await ip('link', 'delete', nearOf(number, at)).catch(() => undefined);
    for (const name of names.splice(0)) await ip('netns', 'delete', name).catch(() => undefined);
    await ip('link', 'delete', bridge).catch(() => undefined);
    forget();
  };
  try {
    await ip('link', 'set', bridge, 'alias', `${ownerMark}${process.pid}`);
    await ip('address', 'add', `${addressOf(1)}/24`, 'dev', bridge);
    await ip('link', 'set', bridge, 'up');
  } catch (error) {
    await close();
    throw error;
  }
  return {
    hostAddress: addressOf(1),
    async openNamespace() {
      const name = `${bridge}-${names.length}`;
      const near = nearOf(number, names.length);
      const address = addressOf(names.length + 2);
      names.push(name);
      await ip('netns', 'add', name);
      await ip('link', 'add', near, 'type', 'veth', 'peer', 'name', 'far', 'netns', name);
      await ip('link', 'set', near, 'master', bridge, 'up');
      await ip('-n', name, 'address', 'add', `${address}/24`, 'dev', 'far');
      await ip('-n', name, 'link', 'set', 'far', 'up');
      await ip('-n', name, 'link', 'set', 'lo', 'up');
      return {
        enter: ['ip', 'netns', 'exec', name],
        address,
        cut: () => ip('link', 'set', near, 'down'),
        join: () => ip('link', 'set', near, 'up'),
      };
    },
    [Symbol.asyncDispose]: close,
  };
}

/** The first number whose bridge nobody else on this machine has. */
async function takeBridge(): Promise<number> {
  let refused: unknown;
  for (let tries = 0; tries < networks; tries++) {
    const number = (process.pid + tries) % networks;
    try {
      await ip('link', 'add', bridgeOf(number), 'type', 'bridge');
      return number;
    } catch (error) {
      refused = error;
      if (!String(error).includes('File exists')) break;
    }
  }
  throw refused;
}

/** Networks of processes that are gone, with those who still run in them. */
export function sweepNetworks(): void {
  for (let number = 0; number < networks; number++) {
    const owner = ownerOf(number);
    if (owner !== undefined && !isAlive(owner)) drop(number);
  }
}

/** undefined: there is no such network, or it does not say whose it is. */
function ownerOf(number: number): number | undefined {
  try {
    const alias = readFileSync(join(links, bridgeOf(number), 'ifalias'), 'utf8').trim();
    return alias.startsWith(ownerMark) ? Number(alias.slice(ownerMark.length)) : undefined;
  } catch {
    return undefined;
  }
}

/** The bridge last: it says whose all of it is. */
function drop(number: number): void {
  const bridge = bridgeOf(number);
  for (const name of namesIn(links)) if (name.startsWith(`${bridge}n`)) quietly('ip', 'link', 'delete', name);
  for (const name of namesIn('/run/netns')) {
    if (!name.startsWith(`${bridge}-`)) continue;
    const inside = quietly('ip', 'netns', 'pids', name).match(/\d+/g) ?? [];
    if (inside.length > 0) quietly('kill', '-KILL', ...inside);
    quietly('ip', 'netns', 'delete', name);
  }
  quietly('ip', 'link', 'delete', bridge);
}

function bridgeOf(number: number): string {
  return `grm${number}`;
}

/** The end of a namespace's cable on this side. */
function nearOf(number: number, at: number): string {
  return `grm${number}n${at}`;
}

/** Why this machine does not allow it, in one line; undefined where it does. */
export async function refusalToIsolate(): Promise<string | undefined> {
  try {
    await using network = await openNetwork();
    const [command = '', ...args] = (await network.openNamespace()).enter;
    await run(command, [...args, 'true']);
    return undefined;
  } catch (error) {
    return reasonIn(error);
  }
}

/** The first line of what a command said before it failed; else of why it did not run. */
export function reasonIn(error: unknown): string {
  const { stderr = '', message = String(error) } = error as { stderr?: string; message?: string };
  const said = stderr.trim() === '' ? message : stderr;
  return said.trim().split('\n')[0] ?? '';
}
