import { describe, expect, it } from 'vitest';
import { serverCommand, vllmCommand } from '../../../src/engine/server-command.js';

const given = { model: 'Qwen/Qwen3-8B', port: 4711, gpus: [2, 3], args: [] };

describe('server command', () => {
  it('is vllm serve on loopback with the group in tensor parallel, then the arguments', () => {
    const args = ['--max-num-seqs', '64', '--override-generation-config', '{"top_k":20}'];
    expect(serverCommand({ ...given, command: vllmCommand, args }).join(' ')).toBe(
      'vllm serve Qwen/Qwen3-8B --host 127.0.0.1 --port 4711 --tensor-parallel-size 2 ' +
        '--max-num-seqs 64 --override-generation-config {"top_k":20}',
    );
  });

  it('fills in a command of its own, and leaves other braces alone', () => {
    const command = ['llama-server', '-m', '{model}', '--port={port}', '--devices', '{gpus}', '--split', '{tp}', '{x}'];
    expect(serverCommand({ ...given, command, args: ['--alias', '{model}@{port}'] })).toEqual([
      'llama-server',
      '-m',
      'Qwen/Qwen3-8B',
      '--port=4711',
      '--devices',
      '2,3',
      '--split',
      '2',
      '{x}',
      '--alias',
      'Qwen/Qwen3-8B@4711',
    ]);
  });

  it('a model name is never read as a place or a pattern', () => {
    expect(serverCommand({ ...given, model: '$&{port}', command: ['run', '{model}'] })).toEqual(['run', '$&{port}']);
  });

  it('without GPUs the parallelism is 1', () => {
    expect(serverCommand({ ...given, gpus: [], command: ['run', '{tp}', '{gpus}'] })).toEqual(['run', '1', '']);
  });
});
