import { describe, expect, it } from 'vitest';
import { Events, type EventMap, type EventName } from '../../../src/observe/events.js';
import { logEvents, openLog, prettyLine, type Log, type LogOptions } from '../../../src/observe/log.js';

function setUp(options: Partial<LogOptions> = {}) {
  const lines: string[] = [];
  const log: Log = openLog({
    level: 'debug',
    format: 'json',
    texts: false,
    name: 'coordinator',
    destination: { write: (line: string) => void lines.push(line) },
    terminal: false,
    ...options,
  });
  return { log, lines, records: () => lines.map((line) => JSON.parse(line) as Record<string, unknown>) };
}

/** One event of every name; those about a request carry its id. */
const everyEvent: { readonly [K in EventName]: EventMap[K] } = {
  'request.accepted': { requestId: 'r1', tenant: 't', class: 'rl', k: 8, responses: 2, contentBytes: 9 },
  'request.known': { requestId: 'r1', how: 'joined' },
  'request.taken_over': { requestId: 'r1', owner: 'n' },
  'request.finished': { requestId: 'r1', tenant: 't', class: 'rl', outcome: 'valid', durationMs: 5 },
  'admission.rejected': { tenant: 't', class: 'rl', reason: 'overloaded', why: 'bytes' },
  'sample.failed_over': { requestId: 'r1', samples: 2, reason: 'status 500' },
  'shard.hedged': { requestId: 'r1', samples: 2 },
  'hedge.won': { requestId: 'r1', index: 3 },
  'sample.finished': {
    requestId: 'r1',
    index: 0,
    class: 'rl',
    model: 'm',
    engine: 'e',
    outcome: 'scored',
    usage: { promptTokens: 1, cachedTokens: 0, completionTokens: 2 },
    queueMs: 1,
    engineMs: 2,
  },
  'meta.finished': { requestId: 'r1', index: 0, model: 'm', outcome: 'ranked', queueMs: 1, engineMs: 1 },
  'result.suppressed': { requestId: 'r1', stage: 'sample', where: 'ledger' },
  'result.held': { requestId: 'r1', stage: 'sample', results: 3, reason: 'GRM_RES takes no more' },
  'delivery.retried': { requestId: 'r1', stage: 'sample', deliveries: 2, reason: 'x' },
  'delivery.redelivered': { requestId: 'r1', stage: 'sample', deliveries: 2 },
  'delivery.dropped': { requestId: 'r1', stage: 'sample', why: 'expired' },
  'delivery.dead': { requestId: 'r1', stage: 'sample', deliveries: 5, reason: 'x' },
  'queue.connection': { state: 'disconnected', reason: 'nats://bob:pass1word@h is gone' },
  'queue.swept': { stream: 's', consumer: 'c', orphans: 1, phantoms: 0 },
  'queue.drift': { what: 'x' },
  'clock.told': { how: 'off', words: "this machine's is 3.0 s ahead of NATS's", skewMs: 3_000 },
  'queue.lost': { stream: 's' },
  'queue.trouble': { what: 'x' },
  'queue.trimmed': { stream: 's', messages: 3 },
  'actor.changed': { id: 'a', kind: 'engine', name: 'e', from: 'alive', to: 'dead', reason: 'x' },
  'engine.loading': { engine: 'e', elapsedMs: 10, line: 'loading weights' },
  'engine.service': { engine: 'openai-0', state: 'out', cause: 'refused', reason: 'HTTP 404' },
  'node.drain': { node: 'n', phase: 'started', running: 2 },
  trouble: { where: 'x', error: new Error('boom'), requestId: 'r1' },
};

describe('log', () => {
  it('writes one JSON object per line, with time, level, name and snake_case fields', () => {
    const { log, lines, records } = setUp({ fields: { nodeId: 'n1' } });
    log.info('hello', { requestId: 'r1', k: 8 });
    expect(lines[0]?.endsWith('}\n')).toBe(true);
    expect(records()[0]).toMatchObject({
      level: 'info',
      name: 'coordinator',
      pid: process.pid,
      node_id: 'n1',
      message: 'hello',
      request_id: 'r1',
      k: 8,
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/) as string,
    });
  });

  it('L1: keeps prompts, responses, critiques and secrets out', () => {
    const { log, lines } = setUp();
    log.info('scored', {
      prompt: 'PROMPT',
      responses: ['RESPONSE'],
      critique: 'CRITIQUE',
      token: 'TOKEN',
      apiKey: 'KEY',
    });
    log
      .child({ messages: [{ content: 'MESSAGE' }] })
      .error('nats://bob:PASS@h failed', { error: new Error('Bearer BEARERTOKEN') });
    expect(lines.join('')).not.toMatch(/PROMPT|RESPONSE|CRITIQUE|TOKEN|KEY|MESSAGE|PASS/);
  });

  it('L1: with texts: true lets texts through, but no secret', () => {
    const { log, lines } = setUp({ texts: true });
    log.info('scored', { prompt: 'PROMPT', critique: 'CRITIQUE', token: 'TOKEN' });
    expect(lines.join('')).toMatch(/PROMPT.*CRITIQUE/);
    expect(lines.join('')).not.toContain('"TOKEN"');
  });

  it('L2: a child carries the request id on every line', () => {
    const { log, records } = setUp();
    const child = log.child({ requestId: 'r9' });
    child.info('one');
    child.warn('two', { k: 1 });
    expect(records().map((record) => record.request_id)).toEqual(['r9', 'r9']);
  });

  it('writes from its level up, and nothing when silent', () => {
    const { log, records } = setUp({ level: 'warn' });
    log.info('no');
    log.warn('yes');
    log.fatal('yes');
    expect(records().map((record) => record.level)).toEqual(['warn', 'fatal']);
    expect([log.writes('info'), log.writes('warn')]).toEqual([false, true]);
    const silent = setUp({ level: 'silent' });
    silent.log.fatal('no');
    expect(silent.lines).toEqual([]);
  });

  it.each(Object.keys(everyEvent) as EventName[])('L2: tells %s, with its request id if it has one', (name) => {
    const { log, records, lines } = setUp();
    const events = new Events();
    logEvents(log, events);
    events.emit(name, everyEvent[name]);
    const [record] = records();
    expect(record).toMatchObject({ event: name });
    expect(record?.request_id).toBe('requestId' in everyEvent[name] ? 'r1' : undefined);
    expect(lines.join('')).not.toContain('pass1word');
  });

  it('raises its voice with the outcome', () => {
    const { log, records } = setUp();
    const events = new Events();
    const stop = logEvents(log, events);
    for (const outcome of ['valid', 'invalid', 'overloaded', 'internal'] as const) {
      events.emit('request.finished', { requestId: 'r', tenant: 't', class: 'rl', outcome, durationMs: 1 });
    }
    expect(records().map((record) => record.level)).toEqual(['debug', 'warn', 'info', 'error']);
    stop();
    events.emit('queue.drift', { what: 'x' });
    expect(records()).toHaveLength(4);
  });
});

describe('pretty lines', () => {
  it('are one line per record, with the facts as key=value', () => {
    const { log, lines } = setUp({ format: 'pretty' });
    log.info('request finished', { requestId: 'r1', outcome: 'valid', note: 'two words', n: 3, list: [1, 2] });
    expect(lines[0]).toMatch(
      /^\d\d:\d\d:\d\d\.\d{3} {2}info {3}coordinator {2}request finished {2}request_id=r1 {2}outcome=valid {2}note="two words" {2}n=3 {2}list=\[1,2\]\n$/,
    );
  });

  it('are what a terminal gets by default', () => {
    expect(setUp({ format: 'auto', terminal: true, colours: false }).log.info('x')).toBeUndefined();
    const terminal = setUp({ format: 'auto', terminal: true, colours: false });
    terminal.log.info('x');
    expect(terminal.lines[0]).toMatch(/info {3}coordinator {2}x\n$/);
    const pipe = setUp({ format: 'auto', terminal: false });
    pipe.log.info('x');
    expect(pipe.lines[0]?.startsWith('{')).toBe(true);
  });

  it('cannot be forged: control characters are escaped', () => {
    const { log, lines } = setUp({ format: 'pretty' });
    log.info('a\n12:00:00.000  fatal  forged\u001b[31m', { note: 'b\nc\u001b[0m' });
    expect(lines).toHaveLength(1);
    expect(lines[0]?.trimEnd().split('\n')).toHaveLength(1);
    expect(lines[0]).not.toContain('\u001b');
  });

  it('show the stack of an error below', () => {
    const { log, lines } = setUp({ format: 'pretty' });
    log.error('trouble', { error: new TypeError('no such thing') });
    expect(lines[0]).toMatch(/error="TypeError: no such thing"\n\s+at /);
  });

  it('carry colours only when asked', () => {
    const line = JSON.stringify({ level: 'error', time: '2026-01-01T10:11:12.345Z', name: 'n', message: 'm', k: 1 });
    expect(prettyLine(line, false)).toBe('10:11:12.345  error  n  m  k=1\n');
    expect(prettyLine(line, true)).toContain('\u001b[31m');
  });
});
