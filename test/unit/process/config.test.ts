import { writeFileSync } from 'node:fs';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { resolveConfig, shownSettings } from '../../../src/process/config.js';
import { Secret } from '../../../src/process/secret.js';
import { settings } from '../../../src/process/shape.js';
import { file, given, ok, resolve } from '../../support/config-files.js';

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
      stop: 'none',
      stopError: 0.02,
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

  it('Y4: reads lists and sections in the flow form of YAML, and never takes one for a list by commas', () => {
    const set = (...texts: string[]) => ok({ flags: { set: texts } });
    expect(set('nats.servers=[nats://a:1,nats://b:2]').nats.servers).toEqual(['nats://a:1', 'nats://b:2']);
    expect(set(' nats.servers = [ "nats://a:1", nats://b:2 ]').nats.servers).toEqual(['nats://a:1', 'nats://b:2']);
    expect(set('worker.gpus=[0, 2,]').worker.gpus).toEqual([0, 2]);
    expect(set('coordinator.weights={tenant: {Team.A: 2.5}}').coordinator.weights.tenant).toEqual({ 'Team.A': 2.5 });
    const engines = ok({ env: { GRM_WORKER__ENGINES: '[{kind: managed, model: m, args: [--x, "a, b"]}]' } }).worker
      .engines;
    expect(engines).toMatchObject([{ kind: 'managed', model: 'm', args: ['--x', 'a, b'] }]);
    // A text is a text, however it begins.
    expect(set('grpc.listen=[::1]:7', 'nats.token={a: b}').nats.token?.reveal()).toBe('{a: b}');
    expect(set('grpc.listen=[::1]:7').grpc.listen).toBe('[::1]:7');
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
    const bare = resolve({ flags: { set: ['nats.servers=bob:HUNTER2@h:4222'] } });
    if (bare.kind === 'problems') throw new Error('problems');
    expect(JSON.stringify(shownSettings(bare.config, bare.sources))).not.toContain('HUNTER2');
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
      // A list of sections is found by the values in it.
      const keys = Object.keys(found).map((key) => (key.startsWith(`${row.key}.0.`) ? row.key : key));
      const own = keys.filter((key) => !key.startsWith(`${row.key}.`));
      // An empty record has no value that could have come from somewhere.
      if (!(empty && !Array.isArray(row.fallback))) expect([...new Set(own)]).toEqual([row.key]);
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
