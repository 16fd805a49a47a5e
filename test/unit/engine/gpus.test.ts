import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { groupGpus, parseGpus, visibleGpus } from '../../../src/engine/gpus.js';

const smi = `0, 81559, GPU-8f3a1c00-0000-0000-0000-000000000000, NVIDIA H100 80GB HBM3
1, 81559, GPU-8f3b2d00-0000-0000-0000-000000000000, NVIDIA H100 80GB HBM3
2, [N/A], GPU-77000000-0000-0000-0000-000000000000, NVIDIA GB10, rev 2
`;

describe('gpus', () => {
  it('reads what nvidia-smi prints, names with commas and absent sizes included', () => {
    expect(parseGpus(smi)).toEqual([
      { index: 0, uuid: 'GPU-8f3a1c00-0000-0000-0000-000000000000', memoryMiB: 81_559, name: 'NVIDIA H100 80GB HBM3' },
      { index: 1, uuid: 'GPU-8f3b2d00-0000-0000-0000-000000000000', memoryMiB: 81_559, name: 'NVIDIA H100 80GB HBM3' },
      { index: 2, uuid: 'GPU-77000000-0000-0000-0000-000000000000', name: 'NVIDIA GB10, rev 2' },
    ]);
    expect(parseGpus('')).toEqual([]);
    expect(parseGpus('No devices were found\n')).toEqual([]);
    expect(parseGpus('1, 10, GPU-b, B\r\n0, 20, GPU-a, A\r\n').map((gpu) => gpu.index)).toEqual([0, 1]);
  });

  it('no text makes the reader throw, and it reads a bounded number', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('0', ',', ' ', '\n', 'G', '-', '['), maxLength: 200 }), (text) => {
        for (const gpu of parseGpus(text)) expect(Number.isSafeInteger(gpu.index)).toBe(true);
      }),
    );
    expect(parseGpus('0, 1, u, n\n'.repeat(500)).length).toBe(64);
  });

  it.each([
    [undefined, [0, 1, 2]],
    ['', []],
    ['0', [0]],
    ['2,0', [2, 0]],
    [' 1 , 2 ', [1, 2]],
    // CUDA stops at the first entry that it cannot take.
    ['1,-1,0', [1]],
    ['0,7,1', [0]],
    ['1,1,0', [1]],
    ['GPU-77', [2]],
    ['GPU-8f3b,GPU-8f3a', [1, 0]],
    // Two begin like this.
    ['GPU-8f', []],
    ['MIG-1234', []],
    ['NoDevFiles', []],
  ] as const)('CUDA_VISIBLE_DEVICES=%s shows %j', (visible, indexes) => {
    expect(visibleGpus(parseGpus(smi), visible).map((gpu) => gpu.index)).toEqual(indexes);
  });

  it('divides GPUs into groups of neighbours that cover all, once', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 8 }),
        fc.integer({ min: 1, max: 8 }),
        fc.integer({ min: 0, max: 8 }),
        (perEngine, engines, first) => {
          const indexes = Array.from({ length: perEngine * engines }, (_, at) => first + at);
          const divided = groupGpus(indexes, perEngine);
          if (divided.kind !== 'groups') throw new Error(divided.reason);
          expect(divided.groups.flat()).toEqual(indexes);
          expect(divided.groups.every((group) => group.length === perEngine)).toBe(true);
        },
      ),
    );
  });

  it.each([
    [[0, 1, 2], 2, '3 GPUs do not divide into groups of 2; name the ones to use'],
    [[0], 2, 'gpus_per_engine is 2, but there are 1 GPU'],
    [[], 1, 'gpus_per_engine is 1, but there are 0 GPUs'],
    [[0, 0], 1, 'a GPU is named twice in 0, 0'],
    [[0, 1], 0, 'gpus_per_engine is 0, expected 1 or more'],
    [[0, 1], 1.5, 'gpus_per_engine is 1.5, expected 1 or more'],
  ] as const)('refuses %j in groups of %d', (indexes, perEngine, reason) => {
    expect(groupGpus(indexes, perEngine)).toEqual({ kind: 'wrong', reason });
  });
});
