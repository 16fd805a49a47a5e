// GPUs: which ones this process may use, and their division into one group per engine.
//
// Indexes are nvidia-smi's, which count by PCI bus. CUDA counts by speed unless told otherwise, so whoever passes them on as
// CUDA_VISIBLE_DEVICES must set CUDA_DEVICE_ORDER=PCI_BUS_ID as well (server-process.ts does).

import { execFile } from 'node:child_process';
import { limits } from '../limits.js';

export interface Gpu {
  readonly index: number;
  /** "GPU-8f3a…": names it whatever its index. */
  readonly uuid: string;
  /** Absent when the driver does not tell (MIG, unified memory). */
  readonly memoryMiB?: number;
  readonly name: string;
}

/** What was found; `none` says why there is nothing to use. */
export type Found =
  { readonly kind: 'gpus'; readonly gpus: readonly Gpu[] } | { readonly kind: 'none'; readonly reason: string };

export type Groups =
  | { readonly kind: 'groups'; readonly groups: readonly (readonly number[])[] }
  | { readonly kind: 'wrong'; readonly reason: string };

/**
 * Asks nvidia-smi. `visibleDevices` is the value of CUDA_VISIBLE_DEVICES, when the process has one: what it hides is left out.
 * Never rejects; ends within limits.gpuQueryMs. `program` is for tests.
 */
export async function findGpus(
  visibleDevices: string | undefined,
  signal: AbortSignal,
  program = 'nvidia-smi',
): Promise<Found> {
  const asked = ['--query-gpu=index,memory.total,uuid,name', '--format=csv,noheader,nounits'];
  const answer = await new Promise<{ readonly text: string } | { readonly reason: string }>((resolve) => {
    const options = { timeout: limits.gpuQueryMs, killSignal: 'SIGKILL', signal, maxBuffer: 1024 * 1024 } as const;
    execFile(program, asked, options, (error, stdout) => {
      if (error === null) resolve({ text: stdout });
      else resolve({ reason: error.code === 'ENOENT' ? `there is no ${program}` : error.message });
    });
  });
  if ('reason' in answer) return { kind: 'none', reason: answer.reason };
  const all = parseGpus(answer.text);
  if (all.length === 0) return { kind: 'none', reason: `${program} lists no GPU` };
  const gpus = visibleGpus(all, visibleDevices);
  return gpus.length > 0
    ? { kind: 'gpus', gpus }
    : { kind: 'none', reason: `CUDA_VISIBLE_DEVICES=${visibleDevices} hides all ${all.length} GPUs` };
}

/** Lines of "index, MiB, uuid, name". Lines of another form (warnings) are left out. */
export function parseGpus(csv: string): readonly Gpu[] {
  const gpus: Gpu[] = [];
  for (const line of csv.split('\n')) {
    const found = /^\s*(\d{1,4})\s*,\s*([^,]*?)\s*,\s*([^,]+?)\s*,\s*(.+?)\s*$/.exec(line);
    if (!found || gpus.length >= limits.gpusMax) continue;
    const [, index, memory, uuid, name] = found;
    const memoryMiB = Number(memory);
    gpus.push({
      index: Number(index),
      uuid: uuid!,
      name: name!,
      ...(memory !== '' && Number.isFinite(memoryMiB) ? { memoryMiB } : {}),
    });
  }
  return gpus.sort((a, b) => a.index - b.index);
}

/** CUDA's own rules: indexes or (shortened) UUIDs; the list ends at the first entry that names no GPU; an empty list hides all. */
export function visibleGpus(gpus: readonly Gpu[], visibleDevices: string | undefined): readonly Gpu[] {
  if (visibleDevices === undefined) return gpus;
  const visible: Gpu[] = [];
  for (const entry of visibleDevices.split(',').map((part) => part.trim())) {
    const named = /^\d+$/.test(entry)
      ? gpus.filter((gpu) => gpu.index === Number(entry))
      : entry === ''
        ? []
        : gpus.filter((gpu) => gpu.uuid.startsWith(entry));
    const [gpu] = named;
    if (gpu === undefined || named.length > 1 || visible.includes(gpu)) break;
    visible.push(gpu);
  }
  return visible;
}

/** One group of `gpusPerEngine` (at least 1) neighbours per engine, in the given order. */
export function groupGpus(indexes: readonly number[], gpusPerEngine: number): Groups {
  const given = `${indexes.length} GPU${indexes.length === 1 ? '' : 's'}`;
  const wrong = (reason: string): Groups => ({ kind: 'wrong', reason });
  if (!Number.isInteger(gpusPerEngine) || gpusPerEngine < 1)
    return wrong(`gpus_per_engine is ${gpusPerEngine}, expected 1 or more`);
  if (new Set(indexes).size !== indexes.length) return wrong(`a GPU is named twice in ${indexes.join(', ')}`);
  if (gpusPerEngine > indexes.length) return wrong(`gpus_per_engine is ${gpusPerEngine}, but there are ${given}`);
  if (indexes.length % gpusPerEngine !== 0)
    return wrong(`${given} do not divide into groups of ${gpusPerEngine}; name the ones to use`);
  return {
    kind: 'groups',
    groups: Array.from({ length: indexes.length / gpusPerEngine }, (_, group) =>
      indexes.slice(group * gpusPerEngine, (group + 1) * gpusPerEngine),
    ),
  };
}
