import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { limits } from '../../../src/limits.js';
import { problemText, resolveConfig, shownSettings, type ConfigInput } from '../../../src/process/config.js';
import type { Config } from '../../../src/process/schema.js';
import { Secret } from '../../../src/process/secret.js';
import { settings } from '../../../src/process/shape.js';
import { sourceText } from '../../../src/process/sources.js';

const folder = mkdtempSync(join(tmpdir(), 'grm-config-'));
afterAll(() => rmSync(folder, { recursive: true }));

let files = 0;
function file(text: string): string {
  const path = join(folder, `c${files++}.yaml`);
  writeFileSync(path, text);
  return path;
}

function resolve(input: Partial<ConfigInput> & { readonly yaml?: string }) {
  const { yaml, ...rest } = input;
  return resolveConfig({ env: {}, ...(yaml === undefined ? {} : { file: file(yaml) }), ...rest });
}

function ok(input: Parameters<typeof resolve>[0]): Config {
  const resolved = resolve(input);
  if (resolved.kind === 'problems') throw new Error(resolved.problems.map(problemText).join('\n'));
  return resolved.config;
}

/** Problems as text, with the folder taken out. */
function problems(input: Parameters<typeof resolve>[0]): string[] {
  const resolved = resolve(input);
  return resolved.kind === 'ok'
    ? []
    : resolved.problems.map((each) => problemText(each).replaceAll(/\S*\/c\d+\.yaml/g, 'FILE'));
}

/** The source of each key that does not stand at its default. */
function given(input: Parameters<typeof resolve>[0]): Record<string, string> {
  const resolved = resolve(input);
  if (resolved.kind === 'problems') throw new Error(resolved.problems.map(problemText).join('\n'));
  const rows = shownSettings(resolved.config, resolved.sources).filter(({ source }) => source.kind !== 'default');
  return Object.fromEntries(
    rows.map(({ key, value, source }) => [key, `${value} from ${sourceText(source).replace(/.*\/c\d+/, 'FILE')}`]),
  );
}

describe('defaults', () => {
  it('are a whole configuration by themselves', () => {
    const config = ok({});
    expect(config.defaults).toEqual({
      k: 8,
      temperature: 0.5,
      topP: 1,
      maxTokens: 1024,
      vote: 'auto',
      quorumRatio: 0.5,
      timeBudgetMs: 100_000,
      class: 'rl',
    });
    expect(config.grpc).toEqual({
      listen: '127.0.0.1:50051',
      tokens: [],
      allowInsecure: false,
      maxConnectionAgeMs: 300_000,
    });
    expect(config.coordinator.weights).toEqual({ class: { interactive: 8, rl: 4, batch: 1 }, tenant: {} });
    expect(config.nats.storageBytesMax).toBe(4 * 1024 ** 3);
    expect(config.worker.engines).toEqual([]);
  });

  it('are frozen all the way down', () => {
    const config = ok({ yaml: 'worker: { engines: [{ kind: llama, model: m.gguf }] }' });
    const frozen = (value: unknown): boolean =>
      typeof value !== 'object' ||
      value === null ||
      value instanceof Secret ||
      (Object.isFrozen(value) && Object.values(value).every(frozen));
    expect(frozen(config)).toBe(true);
  });

  it('are not shared between two resolutions', () => {
    expect(ok({ env: { GRM_COORDINATOR__WEIGHTS__TENANT__A: '2' } }).coordinator.weights.tenant).toEqual({ a: 2 });
    expect(ok({}).coordinator.weights.tenant).toEqual({});
  });
});

describe('sources', () => {
  it('C1: flags win over the environment, that over the file, that over defaults', () => {
    const yaml = 'defaults:\n  k: 2\n  temperature: 0.1\n  max_tokens: 100\nup:\n  workers: 2\n';
    const env = { GRM_DEFAULTS__K: '3', GRM_DEFAULTS__TEMPERATURE: '0.2', GRM_UP__WORKERS: '3' };
    const flags = { set: ['defaults.k=4'], named: [{ flag: '--workers', key: 'up.workers', value: '4' }] };
    expect(given({ yaml, env, flags })).toEqual({
      'defaults.k': '4 from --set defaults.k',
      'defaults.temperature': '0.2 from GRM_DEFAULTS__TEMPERATURE',
      'defaults.max_tokens': '100 from FILE.yaml:4',
      'up.workers': '4 from --workers',
    });
  });

  it('takes the file from GRM_CONFIG when no flag names one', () => {
    const path = file('defaults: { k: 5 }');
    expect(ok({ env: { GRM_CONFIG: path } }).defaults.k).toBe(5);
    expect(ok({ env: { GRM_CONFIG: path }, file: file('defaults: { k: 6 }') }).defaults.k).toBe(6);
  });

  it('reads what a setting holds from text: numbers, flags, lists, sections, and text as it is', () => {
    const config = ok({
      env: {
        GRM_NATS__SERVERS: 'nats://a:1, nats://b:2',
        GRM_NATS__TOKEN: '12345',
        GRM_NATS__REPLICAS: '3',
        GRM_LOG__TEXTS: 'true',
        GRM_WORKER__GPUS: '0,2',
        GRM_COORDINATOR__WEIGHTS: '{"tenant":{"Team.A":2.5}}',
        GRM_TEMPLATES__GRM: '007',
        GRM_META__ENGINES: '[{"kind":"yes_no","base_url":"http://h:1","extra_body":{"addSpecial":false}}]',
      },
    });
    expect(config.nats.servers).toEqual(['nats://a:1', 'nats://b:2']);
    expect(config.nats.token?.reveal()).toBe('12345');
    expect(config.nats.replicas).toBe(3);
    expect(config.log.texts).toBe(true);
    expect(config.worker.gpus).toEqual([0, 2]);
    expect(config.coordinator.weights).toEqual({
      class: { interactive: 8, rl: 4, batch: 1 },
      tenant: { 'Team.A': 2.5 },
    });
    expect(config.templates.grm).toBe('007');
    // Names inside a record are the user's own and stay as they are.
    expect(config.meta.engines[0]).toMatchObject({ kind: 'yes_no', yesWord: 'Yes', extraBody: { addSpecial: false } });
    expect(ok({ flags: { set: ['nats.servers=["nats://c"]', 'worker.gpus=auto'] } }).nats.servers).toEqual([
      'nats://c',
    ]);
  });

  it('counts an empty variable as not set, and leaves names without "__" alone', () => {
    const env = {
      GRM_NATS__TOKEN: '',
      GRM_COORDINATOR_SERVICE_HOST: '10.0.0.1',
      GRM_COORDINATOR_PORT: 'tcp://10.0.0.1:1',
      HOME: '/x',
    };
    expect(given({ env })).toEqual({});
  });

  it('patches one item of a list from above, and replaces lists otherwise', () => {
    const yaml =
      'worker:\n  engines:\n    - kind: openai\n      base_url: http://a\n    - kind: openai\n      base_url: http://b\n';
    const config = ok({ yaml, env: { GRM_WORKER__ENGINES__1__API_KEY: 'k', GRM_WORKER__ENGINES__0__SLOTS: '3' } });
    expect(config.worker.engines).toMatchObject([
      { baseUrl: 'http://a', slots: 3 },
      { baseUrl: 'http://b', slots: 64 },
    ]);
    const [, second] = config.worker.engines;
    expect(second?.kind === 'openai' && second.apiKey?.reveal()).toBe('k');
    expect(ok({ yaml, env: { GRM_WORKER__ENGINES: '[]' } }).worker.engines).toEqual([]);
    const added = ok({
      env: {
        GRM_GRPC__TOKENS__0__NAME: 'ci',
        GRM_GRPC__TOKENS__0__TOKEN: 't',
        GRM_GRPC__TOKENS__1__NAME: 'ops',
        GRM_GRPC__TOKENS__1__TOKEN: 'u',
      },
    });
    expect(added.grpc.tokens.map(({ name }) => name)).toEqual(['ci', 'ops']);
  });

  it('merges sections and records of several sources', () => {
    const yaml = 'coordinator: { weights: { tenant: { a: 1, b: 2 } } }\nnats: { tls: { ca_file: ca.pem } }\n';
    const config = ok({ yaml, flags: { set: ['coordinator.weights.tenant.b=3', 'nats.user=u', 'nats.password=p'] } });
    expect(config.coordinator.weights.tenant).toEqual({ a: 1, b: 3 });
    expect(config.nats).toMatchObject({ tls: { caFile: 'ca.pem' }, user: 'u' });
  });

  it('takes an empty section, an empty file, and null as a way back to the default', () => {
    expect(ok({ yaml: 'nats:\nlog:\n' })).toEqual(ok({}));
    expect(ok({ yaml: '' })).toEqual(ok({}));
    expect(ok({ yaml: '# nothing\n' })).toEqual(ok({}));
    expect(ok({ yaml: 'defaults: { k: ~ }' }).defaults.k).toBe(8);
    expect(ok({ yaml: 'nats: { tls: {} }' }).nats.tls).toEqual({});
  });
});

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
      'coordinator: { samples_in_flight_max: 100 }',
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
});

describe('C3: a resolved configuration', () => {
  const input = {
    yaml: 'nats: { servers: ["nats://bob:HUNTER2@h:4222"], token: HUNTER2 }\nworker: { engines: [{ kind: openai, base_url: "http://u:HUNTER2@h", api_key: HUNTER2 }] }',
  };

  it('shows no secret when listed', () => {
    const resolved = resolve(input);
    if (resolved.kind === 'problems') throw new Error('problems');
    const rows = shownSettings(resolved.config, resolved.sources);
    expect(JSON.stringify(rows)).not.toContain('HUNTER2');
    expect(rows.find(({ key }) => key === 'nats.token')?.value).toBe('[redacted]');
    expect(rows.find(({ key }) => key === 'nats.servers')?.value).toBe('["nats://[redacted]@h:4222"]');
  });

  it('shows none when printed by accident', () => {
    const { nats, worker } = ok(input);
    const api = worker.engines.map((engine) => (engine.kind === 'openai' ? engine.apiKey : undefined));
    for (const text of [inspect({ t: nats.token, api }, { depth: 9 }), JSON.stringify({ t: nats.token, api })]) {
      expect(text).not.toContain('HUNTER2');
    }
  });
});

describe('every setting', () => {
  const plain = settings().filter((row) => !row.key.includes('<') && row.fallback !== undefined);

  it.each(plain.map((row) => [row.env, row] as const))(
    '%s takes its own default, and prints as it was read',
    (env, row) => {
      const text = typeof row.fallback === 'string' ? row.fallback : JSON.stringify(row.fallback);
      const found = given({ env: { [env]: text } });
      const empty = row.fallback !== null && typeof row.fallback === 'object' && Object.keys(row.fallback).length === 0;
      // An empty record has no value that could have come from somewhere.
      if (!(empty && !Array.isArray(row.fallback))) expect(Object.keys(found)).toEqual([row.key]);
      expect(ok({ env: { [env]: text } })).toEqual(ok({}));
    },
  );

  it('has a description, and a name that no other has', () => {
    for (const row of settings()) expect(row.description, row.key).toMatch(/\.$/);
    const names = settings().map((row) => `${row.key} ${row.kinds?.join() ?? ''}`);
    expect(new Set(names).size).toBe(names.length);
  });
});

describe('hostile input', () => {
  it('whatever the file holds, the answer is a value (property)', () => {
    const path = file('');
    const anyText = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 200 }),
      fc.json({ maxDepth: 4 }),
      fc
        .tuple(fc.constantFrom('nats', 'worker', 'grpc', 'coordinator', 'meta', 'log'), fc.json({ maxDepth: 3 }))
        .map(([name, json]) => `${name}: ${json}`),
    );
    fc.assert(
      fc.property(anyText, (text) => {
        writeFileSync(path, text);
        expect(['ok', 'problems']).toContain(resolveConfig({ file: path, env: {} }).kind);
      }),
      { numRuns: 150 },
    );
  });

  it('whatever flags and environment say, the answer is a value, and no prototype changes (property)', () => {
    const part = fc.constantFrom(
      'nats',
      'worker',
      'engines',
      '0',
      'kind',
      'slots',
      'weights',
      'coordinator',
      'tenant',
      '__proto__',
      'constructor',
      'tls',
      '',
    );
    const value = fc.oneof(fc.json({ maxDepth: 2 }), fc.string({ maxLength: 20 }));
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.array(part, { maxLength: 5 }), value), { maxLength: 5 }), (pairs) => {
        const set = pairs.map(([path, text]) => `${path.join('.')}=${text}`);
        const env = Object.fromEntries(pairs.map(([path, text]) => [`GRM_${path.join('__')}`, text]));
        expect(['ok', 'problems']).toContain(resolveConfig({ env, flags: { set } }).kind);
        expect(Object.keys(Object.prototype)).toEqual([]);
        expect(({} as Record<string, unknown>).kind).toBeUndefined();
      }),
      { numRuns: 300 },
    );
  });
});
