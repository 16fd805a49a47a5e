import { describe, expect, it } from 'vitest';
import pc from 'picocolors';
import { noticeText, type Notice } from '../../../src/cli/notice.js';
import type { EngineNews } from '../../../src/cli/service.js';
import { EngineWatch } from '../../../src/cli/waiting.js';

const colourless = pc.createColors(false);

function engine(state: string, more: Partial<EngineNews> = {}): EngineNews {
  return { name: 'llama-0', state, reason: '', restarts: 0, ...more };
}

function watched(workers = 1, metaWorkers = 0) {
  let nowMs = 0;
  const told: Notice[] = [];
  const watch = new EngineWatch(
    { workers, metaWorkers },
    () => nowMs,
    (notice) => told.push(notice),
  );
  return {
    watch,
    told,
    pass: (ms: number) => (nowMs += ms),
    text: () => noticeText(watch.waiting(nowMs, []), colourless),
  };
}

describe('waiting for engines', () => {
  it('shows how far a model is, and when it will be there', () => {
    const { watch, pass, text } = watched();
    const load = (doneRatio: number): void =>
      watch.hearEngines('w', [engine('starting', { loading: { line: 'load', doneRatio } })]);
    load(0);
    expect(text()).toBe('waiting 0:00: 0 of 1 workers serve; w/llama-0 starting load 0%');
    pass(10_000);
    load(0.25);
    expect(text()).toBe('waiting 0:10: 0 of 1 workers serve; w/llama-0 starting load 25% ETA 0:30');
  });

  it('takes the pace of each stage anew: a download says nothing of the load', () => {
    const { watch, pass, text } = watched();
    const at = (line: string, doneRatio: number): void =>
      watch.hearEngines('w', [engine('starting', { loading: { line, doneRatio } })]);
    at('download', 0);
    pass(100_000);
    at('download', 1);
    at('load', 0);
    expect(text()).not.toContain('ETA');
    pass(1_000);
    at('load', 0.5);
    expect(text()).toContain('load 50% ETA 0:01');
  });

  it('is hopeless when a service has no engine left that could serve', () => {
    const { watch } = watched(1, 1);
    const dead = engine('dead', { reason: 'cannot rank' });
    watch.hearEngines('w', [engine('starting'), { ...dead, name: 'llama-1' }]);
    expect(watch.hopeless()).toBeUndefined();
    watch.hearEngines('m', [dead]);
    expect(watch.hopeless()).toBe('m/llama-0: cannot rank');
  });

  it('shows the last line of a server that tells no share', () => {
    const { watch, text } = watched();
    watch.hearEngines('w', [engine('starting', { loading: { line: 'Loading\u001b[2K safetensors  3/14' } })]);
    expect(text()).toBe('waiting 0:00: 0 of 1 workers serve; w/llama-0 starting Loading\ufffd[2K safetensors 3/14');
  });

  it('tells why an engine failed: each reason once, and that it serves after all', () => {
    const { watch, told, text } = watched();
    const fails = (reason: string, restarts: number): void =>
      watch.hearEngines('w', [engine('restarting', { reason, restarts })]);
    fails('no such file', 0);
    watch.hearEngines('w', [engine('starting', { restarts: 1 })]);
    fails('no such file', 1);
    fails('no such file', 2);
    expect(text()).toBe('waiting 0:00: 0 of 1 workers serve; w/llama-0 restarting (2 restarts)');
    fails('not a GGUF file', 3);
    watch.hearEngines('w', [engine('alive', { restarts: 4 })]);
    watch.hearEngines('w', [engine('alive', { restarts: 4 })]);
    expect(told.map((notice) => noticeText(notice, colourless))).toEqual([
      'w/llama-0 restarting: no such file',
      'w/llama-0 restarting: not a GGUF file',
      'w/llama-0 serves after 4 restarts',
    ]);
  });

  it('says nothing of an engine that simply comes up', () => {
    const { watch, told } = watched();
    for (const state of ['pending', 'starting', 'alive']) watch.hearEngines('w', [engine(state)]);
    expect(told).toEqual([]);
  });

  it('is over when the coordinator sees all workers', () => {
    const { watch } = watched(2, 1);
    expect(watch.complete()).toBe(false);
    watch.hearServing({ workers: 2, metaWorkers: 0 });
    expect(watch.complete()).toBe(false);
    watch.hearServing({ workers: 2, metaWorkers: 1 });
    expect(watch.complete()).toBe(true);
  });

  it('forgets the engines of a process that ended', () => {
    const { watch } = watched();
    watch.hearEngines('w-1', [engine('starting')]);
    watch.hearEngines('w-10', [engine('starting')]);
    watch.forget('w-1');
    expect(watch.waiting(0, []).engines.map((each) => each.engine)).toEqual(['w-10/llama-0']);
  });
});

describe('notices', () => {
  it('say which processes start, with their last words', () => {
    const { watch } = watched();
    const waiting = watch.waiting(61_000, [
      { name: 'coordinator', says: 'NATS is waited for' },
      { name: 'nats', says: '' },
    ]);
    expect(noticeText(waiting, colourless)).toBe(
      'waiting 1:01: 0 of 1 workers serve; coordinator starts: NATS is waited for; nats starts',
    );
  });

  it.each<[Notice, string]>([
    [
      { event: 'process_ended', name: 'w', reason: 'signal SIGKILL', again_in_ms: 250 },
      'w ended (signal SIGKILL); starting it again in 0.25 s',
    ],
    [
      { event: 'process_ended', name: 'w', reason: 'exit\u0007', again_in_ms: null },
      'w ended (exit\ufffd) too often: given up',
    ],
    [{ event: 'draining', waiting_for: ['coordinator'] }, 'draining: coordinator still at work; Ctrl-C kills'],
    [
      { event: 'left_behind', processes: ['w (pid 3)'] },
      'an earlier `grm up` was killed; waiting for what it left behind to end: w (pid 3)',
    ],
  ])('%j', (notice, text) => {
    expect(noticeText(notice, colourless)).toBe(text);
  });
});
