// Memory limit: a process in a memory cgroup of its own, whose kernel ends it when it takes more. Version 1 and 2 of cgroups; on a machine that lets
// nobody make one there is none.

import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** What the process took before does not count: charges stay where they were made. When it is disposed of, the process goes back to where it was. */
export interface MemoryLimit extends Disposable {
  /** Processes that the kernel ended because it found no memory to take back; page cache that it took back is none. */
  kills(): number;
}

interface Version {
  readonly root: string;
  /** Finds a process's own cgroup in /proc/PID/cgroup. */
  readonly own: RegExp;
  readonly limitFile: string;
  /** Has a line "oom_kill 0". */
  readonly killsFile: string;
}

const versions: readonly Version[] = [
  {
    root: '/sys/fs/cgroup/memory',
    own: /^\d+:(?:[^:]*,)?memory(?:,[^:]*)?:(.*)$/m,
    limitFile: 'memory.limit_in_bytes',
    killsFile: 'memory.oom_control',
  },
  { root: '/sys/fs/cgroup', own: /^0::(.*)$/m, limitFile: 'memory.max', killsFile: 'memory.events' },
];

/** undefined: no cgroup with a limit can be made here, and none is left. */
export function limitMemory(pid: number, bytes: number): MemoryLimit | undefined {
  for (const { root, own, limitFile, killsFile } of versions) {
    const folder = join(root, `grm-test-${pid}`);
    const home = attempt(() => own.exec(readFileSync(`/proc/${pid}/cgroup`, 'utf8'))?.[1]);
    if (home === undefined || !attempt(() => (mkdirSync(folder), true))) continue;
    const leave = (): void => {
      // With what it has started meanwhile.
      const inside = attempt(() => readFileSync(join(folder, 'cgroup.procs'), 'utf8').match(/\d+/g)) ?? [];
      for (const each of inside) attempt(() => tell(join(root, home, 'cgroup.procs'), each));
      attempt(() => rmdirSync(folder));
    };
    const isLimited = attempt(() => {
      tell(join(folder, limitFile), bytes);
      tell(join(folder, 'cgroup.procs'), pid);
      return true;
    });
    if (isLimited) {
      const kills = (): number => Number(/^oom_kill (\d+)$/m.exec(readFileSync(join(folder, killsFile), 'utf8'))?.[1]);
      return { kills, [Symbol.dispose]: leave };
    }
    leave();
  }
  return undefined;
}

/** Makes no file: where the kernel has none there is no such setting, or the folder is none of a cgroup's. */
function tell(file: string, value: string | number): void {
  writeFileSync(file, String(value), { flag: 'r+' });
}

function attempt<T>(act: () => T): T | undefined {
  try {
    return act();
  } catch {
    return undefined;
  }
}
