// A network namespace of its own for one process, with one cable to this one that can be pulled: nothing is reset then and nothing is
// refused, packets are just gone. Where that is not allowed, `mayIsolate` says so.

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface Namespace extends AsyncDisposable {
  /** What a command is put behind to run in it. */
  readonly enter: readonly string[];
  /** Under which whoever is in it finds this side. */
  readonly hostAddress: string;
  cut(): Promise<void>;
  join(): Promise<void>;
}

let opened = 0;

/** Takes one of the networks that are kept free for measurements (RFC 2544). */
export async function openNamespace(): Promise<Namespace> {
  const number = (process.pid * 16 + opened++) % 16_384;
  const name = `grm-${process.pid}-${opened}`;
  const [near, far] = [`grm${number}a`, `grm${number}b`];
  const network = `198.18.${number >> 6}.${(number & 63) << 2}`.split('.');
  const address = (at: number): string => [...network.slice(0, 3), Number(network[3]) + at].join('.');
  const ip = async (...args: readonly string[]): Promise<void> => {
    await run('ip', args);
  };
  const close = async (): Promise<void> => {
    // Its end of the cable goes with it, and so does ours; at once, though processes in it may still be ending.
    await ip('link', 'delete', near).catch(() => undefined);
    await ip('netns', 'delete', name).catch(() => undefined);
  };
  try {
    await ip('netns', 'add', name);
    await ip('link', 'add', near, 'type', 'veth', 'peer', 'name', far, 'netns', name);
    await ip('address', 'add', `${address(1)}/30`, 'dev', near);
    await ip('link', 'set', near, 'up');
    await ip('-n', name, 'address', 'add', `${address(2)}/30`, 'dev', far);
    await ip('-n', name, 'link', 'set', far, 'up');
    await ip('-n', name, 'link', 'set', 'lo', 'up');
  } catch (error) {
    await close();
    throw error;
  }
  return {
    enter: ['ip', 'netns', 'exec', name],
    hostAddress: address(1),
    cut: () => ip('link', 'set', near, 'down'),
    join: () => ip('link', 'set', near, 'up'),
    [Symbol.asyncDispose]: close,
  };
}

export async function mayIsolate(): Promise<boolean> {
  try {
    await using namespace = await openNamespace();
    const [command = '', ...args] = namespace.enter;
    await run(command, [...args, 'true']);
    return true;
  } catch {
    return false;
  }
}
