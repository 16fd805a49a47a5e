import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { checkJudge, chooseJudge, judgeNotice, type JudgeFlags } from '../../../src/cli/judge.js';
import { resolveConfig } from '../../../src/process/config.js';
import type { Config } from '../../../src/process/schema.js';
import { packageRoot } from '../../../src/process/version.js';

const folder = mkdtempSync(join(tmpdir(), 'grm-judge-'));
afterAll(() => rmSync(folder, { recursive: true }));
const none = join(folder, 'none.yaml');
writeFileSync(none, '');

function file(yaml: string): string {
  const path = join(folder, 'grm.yaml');
  writeFileSync(path, yaml);
  return path;
}

/** What the services make of the options and of what they are told besides. */
function asServices(config: string, set: readonly string[], args: readonly string[]): Config {
  const resolved = resolveConfig({
    file: config,
    env: {},
    flags: { set: [...set, ...args.filter((arg) => arg !== '--set')] },
  });
  if (resolved.kind === 'problems') throw new Error(JSON.stringify(resolved.problems));
  return resolved.config;
}

/** The judge, and its settings as the services have them: the same as here. */
function chosen(flags: JudgeFlags, { config = none, set = [] }: { config?: string; set?: readonly string[] } = {}) {
  const { judge, resolved, serviceArgs } = chooseJudge({ config, set }, [], flags);
  const { worker, meta, templates, defaults } = asServices(config, set, serviceArgs);
  const seen = { worker, meta, templates, defaults };
  const { config: here } = resolved;
  expect(seen).toEqual({
    worker: here.worker,
    meta: here.meta,
    templates: here.templates,
    defaults: here.defaults,
  });
  return { judge, ...seen, engines: worker.engines, metaEngines: meta.engines };
}

const nano = (name: string): string => join(packageRoot, 'models/nano', name);

describe('the judge of an embedded cluster', () => {
  it('J2: is the nano pair with its templates when nothing is configured', () => {
    expect(chosen({})).toMatchObject({
      judge: 'nano',
      engines: [{ kind: 'llama', model: nano('grm.gguf'), threads: 1 }],
      metaEngines: [{ kind: 'llama_yes_no', model: nano('meta.gguf'), threads: 1 }],
      templates: { grm: 'nano', meta: 'nano' },
    });
  });

  it('J2: gives way to each explicit setting', () => {
    const set = ['worker.engines.0.slots=3', 'templates.meta=default', 'defaults.max_tokens=77'];
    const { engines, templates, defaults } = chosen({}, { set });
    expect(engines).toMatchObject([{ model: nano('grm.gguf'), slots: 3, contextTokens: 1024 }]);
    expect(templates).toMatchObject({ grm: 'nano', meta: 'default' });
    expect(defaults.maxTokens).toBe(77);
  });

  it('J2: keeps a meta RM of the configuration, with its template; none when it says none', () => {
    const config = file('meta:\n  engines: [{ kind: vllm_classify, base_url: "http://meta:1" }]\n');
    expect(chosen({}, { config })).toMatchObject({
      judge: 'nano',
      metaEngines: [{ kind: 'vllm_classify' }],
      templates: { grm: 'nano', meta: 'default' },
    });
    expect(chosen({}, { set: ['meta.engines=[]'] })).toMatchObject({ judge: 'nano', metaEngines: [] });
  });

  it('J1: is what is configured, with the default templates, wherever that stands', () => {
    const yaml = 'worker:\n  engines: [{ kind: openai, base_url: "http://gpu:1" }]\n';
    expect(chosen({}, { config: file(yaml) })).toMatchObject({
      judge: 'configured',
      engines: [{ kind: 'openai' }],
      metaEngines: [],
      templates: { grm: 'default', meta: 'default' },
    });
    expect(chosen({}, { set: ['worker.engines=[{kind: openai, base_url: "http://gpu:1"}]'] }).judge).toBe('configured');
    expect(() => chosen({}, { set: ['worker.engines=[]'] })).toThrow(/worker\.engines is empty/);
  });

  it('J1: is the model of a flag, before a file; without a meta model nothing ranks', () => {
    const yaml = 'worker:\n  engines: [{ kind: openai, base_url: "http://gpu:1" }]\n';
    expect(chosen({ model: 'hf:a/b:Q8_0' }, { config: file(yaml) })).toMatchObject({
      judge: 'named',
      engines: [{ kind: 'llama', model: 'hf:a/b:Q8_0' }],
      metaEngines: [],
      templates: { grm: 'default', meta: 'default' },
    });
    const set = ['worker.engines.0.slots=16', 'meta.engines.0.yes_word=good'];
    expect(chosen({ model: 'a.gguf', metaModel: '/b.gguf' }, { set })).toMatchObject({
      engines: [{ model: join(process.cwd(), 'a.gguf'), slots: 16 }],
      metaEngines: [{ kind: 'llama_yes_no', model: '/b.gguf', yesWord: 'good' }],
    });
    expect(() => chosen({ model: 'a' }, { set: ['worker.engines=[]'] })).toThrow(/--model and --set worker\.engines/);
  });

  it('J3: is the fake engine only by name, and then alone', () => {
    expect(chosen({ fakeEngine: true }).judge).toBe('fake');
    expect(() => chosen({ fakeEngine: true, model: 'a' })).toThrow(/--fake-engine judges by itself/);
  });

  it('J4: says what is wrong with a model before anything starts', async () => {
    const other = join(folder, 'other.gguf');
    writeFileSync(other, 'no model');
    const check = (flags: JudgeFlags): Promise<void> => checkJudge(chooseJudge({ config: none }, [], flags));
    await expect(check({ model: '/nowhere.gguf' })).rejects.toThrow(/cannot be read: ENOENT.*nowhere[^]*give the path/);
    await expect(check({ model: other })).rejects.toThrow(/other\.gguf is not a GGUF file/);
    await expect(check({ model: 'hf:a/b:Q8_0', metaModel: other })).rejects.toThrow(/is not a GGUF file/);
  });

  it('is told: what judges, and whether anything ranks', () => {
    const notice = (flags: JudgeFlags) => {
      const { judge, resolved } = chooseJudge({ config: none }, [], flags);
      return judgeNotice(judge, resolved.config);
    };
    expect(notice({ fakeEngine: true })).toMatchObject({ event: 'fake_engine' });
    expect(notice({})).toMatchObject({ event: 'judge', nano: true });
    expect(notice({ model: '/a.gguf' })).toEqual({ event: 'judge', model: '/a.gguf', meta_model: null, nano: false });
  });
});
