import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/limits.js';
import { folder, problems } from '../../support/config-files.js';

describe('problems', () => {
  it('C2: are told all at once, each with the source of the wrong value', () => {
    const yaml = [
      'nats:',
      '  passwrod: x',
      'grpc:',
      '  tls: { cert_file: a }',
      'worker:',
      '  engines:',
      '    - kind: openai',
      '      base_url: http://x',
      '      slots: 0',
      '    - kind: opnai',
      '    - base_url: y',
      'coordinator:',
      '  weights: { tenant: { b: -1 } }',
      '  pool: "a b"',
      'foo: 1',
    ].join('\n');
    const env = { GRM_NATS__REPLICAS: '2', GRM_DEFAULTS__K: 'x', GRM_LOG__LEVL: 'a', GRM_WORKER__GPUS: '0,a' };
    const flags = {
      set: ['defaults.k=999', 'x', 'worker.engines.9.slots=1'],
      named: [{ flag: '--workers', key: 'up.workers', value: 'many' }],
    };
    expect(problems({ yaml, env, flags })).toEqual([
      '--set (number 2) must be section.key=value',
      'nats.passwrod is not known; did you mean "password"? (from FILE:2)',
      'foo is not known; there are nats, grpc, http, defaults, coordinator, worker, meta, templates, log, up (from FILE:15)',
      'log.levl is not known; did you mean "level"? (from GRM_LOG__LEVL)',
      'worker.engines.9 must be the number of an item, 0 to 3 (the next free one) (from --set worker.engines.9.slots)',
      'nats.replicas must be one of 1, 3, not 2 (from GRM_NATS__REPLICAS)',
      'grpc.tls.key_file is required (from FILE:4)',
      'defaults.k must be at most 128, not 999 (from --set defaults.k)',
      'coordinator.pool must be 1 to 64 letters, digits, "-" or "_", not "a b" (from FILE:14)',
      'coordinator.weights.tenant.b must be above 0, not -1 (from FILE:13)',
      'worker.engines.0.slots must be at least 1, not 0 (from FILE:9)',
      'worker.engines.1.kind must be one of openai, managed, llama, not opnai (from FILE:10)',
      'worker.engines.2.kind is required: one of openai, managed, llama (from FILE:11)',
      'worker.gpus must be "auto" or a list of GPU indexes, not 0,a (from GRM_WORKER__GPUS)',
      'up.workers must be a number, not many (from --workers)',
    ]);
  });

  it.each([
    ['nats: { user: u }', 'nats.user needs nats.password'],
    ['nats: { password: p }', 'nats.password needs nats.user'],
    ['nats: { token: t, creds_file: c }', 'nats.creds_file cannot go with nats.token: choose one way to log in'],
    ['nats: { tls: { cert_file: c } }', 'nats.tls.cert_file needs nats.tls.key_file'],
    ['nats: { tls: { key_file: c } }', 'nats.tls.key_file needs nats.tls.cert_file'],
    ['grpc: { listen: "0.0.0.0:1" }', 'grpc.listen can be reached from other machines without encryption'],
    [
      'grpc: { tokens: [{ name: a, token: b }, { name: a, token: c }] }',
      'grpc.tokens.1.name "a" is the name of two tokens',
    ],
    [
      'coordinator: { dispatch_samples_max: 4 }',
      'coordinator.shard_samples_max must be at most coordinator.dispatch_samples_max (4)',
    ],
    [
      'coordinator: { dispatch_samples_max: 4096, samples_in_flight_max: 100 }',
      'coordinator.dispatch_samples_max must be at most coordinator.samples_in_flight_max (100)',
    ],
    [
      'defaults: { time_budget_ms: 700000 }\nnats: { retention_ms: 600000 }',
      'defaults.time_budget_ms must be at most nats.retention_ms (600000)',
    ],
    ['worker: { gpus: [0, 0] }', 'worker.gpus names a GPU twice'],
    [
      'worker: { gpus: [0], engines: [{ kind: managed, model: m, gpus_per_engine: 2 }] }',
      'worker.engines.0.gpus_per_engine is 2, but worker.gpus lists 1',
    ],
    [
      'coordinator: { bytes_in_flight_max: 1000 }',
      `coordinator.bytes_in_flight_max must be at least ${limits.contentBytesMax}, not 1000`,
    ],
    ['http: { listen: "9464" }', 'http.listen must be "host:port" or "[v6]:port", not'],
    [
      'worker: { engines: [{ kind: openai, base_url: "ftp://x" }] }',
      'worker.engines.0.base_url must be an http:// or https:// address',
    ],
    [
      'worker: { engines: [{ kind: llama, model: m, base_url: "http://x" }] }',
      'worker.engines.0.base_url is not known',
    ],
    ['worker: { engines: { kind: llama } }', 'worker.engines must be a list'],
    ['nats: 5', 'nats must be a section'],
    ['defaults: { k: 1.5 }', 'defaults.k must be a whole number, not 1.5'],
    ['defaults: { k: .inf }', 'defaults.k must be a'],
    ['log: { texts: yes }', 'log.texts must be true or false, not yes'],
    ['up: { data_dir: "" }', 'up.data_dir must not be empty'],
    ['[1, 2]', 'FILE must hold sections'],
    ['nats: { servers: [', 'FILE:1 is no valid YAML'],
    ['nats: { user: a }\nnats: { user: b }', 'FILE:2 is no valid YAML: Map keys must be unique'],
    ['defaults: { __proto__: { k: 3 }, constructor: 1 }', 'defaults.constructor is not known'],
  ])('%s', (yaml, problem) => {
    expect(
      problems({ yaml }).some((text) => text.startsWith(problem)),
      problems({ yaml }).join('\n'),
    ).toBe(true);
  });

  it.each([
    ['grpc: { listen: "0.0.0.0:1", tls: { cert_file: c, key_file: k } }'],
    ['grpc: { listen: "0.0.0.0:1", allow_insecure: true }'],
    ['grpc: { listen: "[::1]:1" }'],
    ['nats: { user: u, password: p, tls: { cert_file: c, key_file: k } }'],
    ['worker: { gpus: [0, 1], engines: [{ kind: managed, model: m, gpus_per_engine: 2 }] }'],
  ])('none: %s', (yaml) => {
    expect(problems({ yaml })).toEqual([]);
  });

  it.each([
    ['nats.servers=[nats://a:1,nats://b:2', 'nats.servers must be a list, not'],
    ['worker.engines=[{kind: llama', 'worker.engines must be a list (from'],
    ['worker.gpus=[0,1', 'worker.gpus must be "auto" or a list of GPU indexes, not'],
    ['coordinator.weights={tenant: {a: 1}', 'coordinator.weights must be a section, not'],
    ['worker.gpus=[*a]', 'worker.gpus must be "auto" or a list of GPU indexes, not'],
  ])('Y4: a list or section that does not end is one: %s', (set, problem) => {
    const told = problems({ flags: { set: [set] } });
    expect(told).toHaveLength(1);
    expect(told[0]).toContain(problem);
  });

  it('tell a file that is missing, a folder, or too big', () => {
    expect(problems({ file: join(folder, 'none.yaml') })[0]).toMatch(/none\.yaml cannot be read: ENOENT/);
    expect(problems({ file: folder })[0]).toMatch(/cannot be read: EISDIR/);
    expect(problems({ yaml: '#'.repeat(limits.configBytesMax + 1) })).toEqual([
      `FILE is larger than ${limits.configBytesMax} bytes`,
    ]);
  });

  it('refuse a file that grows by its aliases', () => {
    const bomb = [
      'a: &a [x, x, x, x, x, x, x, x, x, x]',
      ...'bcdefghi'.split('').map(
        (name, i) =>
          `${name}: &${name} [${Array(10)
            .fill(`*${'abcdefgh'[i] ?? ''}`)
            .join(', ')}]`,
      ),
    ];
    expect(problems({ yaml: bomb.join('\n') })[0]).toMatch(/^FILE is no valid YAML: .*alias/i);
  });

  it('C3: never show a secret', () => {
    const shown = problems({
      yaml: 'nats: { token: [HUNTER2] }\ngrpc: { tokens: [{ name: a, token: { x: HUNTER2 } }] }\n',
      env: { GRM_WORKER__ENGINES__0__API_KEY: 'HUNTER2' },
      flags: { set: ['nats.password={"HUNTER2":1}', 'HUNTER2'] },
    });
    expect(shown.length).toBeGreaterThan(2);
    expect(shown.join('\n')).not.toContain('HUNTER2');
  });

  it.each([
    ['grpc.tokens=[{name: a, token: HUNTER2', 'grpc.tokens must be a list (from'],
    ['grpc.tokens={name: a, token: HUNTER2}', 'grpc.tokens must be a list (from'],
    ['grpc.tokens=[HUNTER2]', 'grpc.tokens.0 must be a section (from'],
    ['grpc.tokens=[{name: a, token: x,HUNTER2}]', 'grpc.tokens.0 has a name without a value, which is not known'],
    ['grpc=HUNTER2', 'grpc must be a section (from'],
    ['nats={token: HUNTER2', 'nats must be a section (from'],
    ['worker.engines=HUNTER2', 'worker.engines must be a list (from'],
    ['meta.engines=[HUNTER2]', 'meta.engines.0 must be a section (from'],
    ['nats.servers=[bob:HUNTER2@h:1', 'nats.servers must be a list, not "[[redacted]@h:1"'],
  ])('C3: never repeat what stands where a secret may: %s', (set, problem) => {
    const told = problems({ flags: { set: [set] } }).join('\n');
    expect(told).toContain(problem);
    expect(told).not.toContain('HUNTER2');
  });

  it.each(['nats: { password: *HUNTER2 }', 'nats: { password: x } HUNTER2', 'nats: { password: "x" HUNTER2 }'])(
    'C3: never repeat what is no YAML: %s',
    (yaml) => {
      const told = problems({ yaml }).join('\n');
      expect(told).toContain('is no valid YAML');
      expect(told).not.toContain('HUNTER2');
    },
  );
});
