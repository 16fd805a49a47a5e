// What a process has used so far, from /proc (Linux alone; NaN elsewhere).

import { readFileSync } from 'node:fs';

/** Clock ticks of /proc/PID/stat: 100 a second on every Linux that Node runs on. */
const ticksPerSecond = 100;

/** User and system time: fields 14 and 15, counted after the name in brackets. */
export function cpuSeconds(pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)!.split(' ');
    return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
  } catch {
    return NaN;
  }
}

export function residentBytes(pid: number): number {
  try {
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1_024;
  } catch {
    return NaN;
  }
}

/** CPU milliseconds per 1,000 samples of each process, over what `during` does. */
export async function cpuPerThousand(
  pids: Readonly<Record<string, readonly number[]>>,
  during: () => Promise<{ readonly samples: number }>,
): Promise<Readonly<Record<string, number>>> {
  const read = (): Record<string, number> =>
    Object.fromEntries(
      Object.entries(pids).map(([name, those]) => [name, those.reduce((sum, pid) => sum + cpuSeconds(pid), 0)]),
    );
  const before = read();
  const { samples } = await during();
  const after = read();
  return Object.fromEntries(
    Object.keys(pids).map((name) => [name, ((after[name]! - before[name]!) * 1e6) / Math.max(1, samples)]),
  );
}
