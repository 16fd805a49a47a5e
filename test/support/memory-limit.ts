// Memory limit: a process in a memory cgroup of its own, whose kernel ends it when it takes more. Version 1 and 2 of cgroups; on a machine that lets
// nobody make one there is none.

import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** What the process took before does not count: charges stay where they were made. */
export interface MemoryLimit extends Disposable {
  /** Times that the kernel had to look for memory to take back, or found none. */
  refusals(): number;
}

interface Version {
  readonly parent: string;
  readonly limitFile: string;
  readonly refusals: (folder: string) => number;
}

const read = (folder: string, file: string): string => readFileSync(join(folder, file), 'utf8');

const versions: readonly Version[] = [
  {
    parent: '/sys/fs/cgroup/memory',
    limitFile: 'memory.limit_in_bytes',
    refusals: (folder) => Number(read(folder, 'memory.failcnt')),
  },
  {
    parent: '/sys/fs/cgroup',
    limitFile: 'memory.max',
    refusals: (folder) => Number(/^max (\d+)$/m.exec(read(folder, 'memory.events'))?.[1] ?? 0),
  },
];

/** undefined: no cgroup can be made here. */
export function limitMemory(pid: number, bytes: number): MemoryLimit | undefined {
  for (const { parent, limitFile, refusals } of versions) {
    const folder = join(parent, `grm-test-${pid}`);
    try {
      mkdirSync(folder);
    } catch {
      continue;
    }
    const leave = (): void => {
      if (existsSync(`/proc/${pid}`)) writeFileSync(join(parent, 'cgroup.procs'), String(pid));
      rmdirSync(folder);
    };
    try {
      writeFileSync(join(folder, limitFile), String(bytes));
      writeFileSync(join(folder, 'cgroup.procs'), String(pid));
      return { refusals: () => refusals(folder), [Symbol.dispose]: leave };
    } catch {
      leave();
    }
  }
  return undefined;
}
