// grm spct on a running cluster, as a user calls it: sampling, selection, rewards, data for the meta RM.

import { existsSync } from 'node:fs';
import { readFile, truncate, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseTemplate, renderPrompt } from '../../src/grm/prompt.js';
import { packageRoot } from '../../src/process/version.js';
import { cliFolder, jsonLines, type CliFolder } from '../support/cli.js';
import { clientOf, enginesAt, startCluster, type ServiceProcess, type TestCluster } from '../support/cluster.js';
import { startEngineProxy, type EngineProxy } from '../support/engine-proxy.js';
import { until } from '../support/processes.js';

let cluster: TestCluster;
let coordinator: ServiceProcess;
let cli: CliFolder;
let proxy: EngineProxy;
/** User messages that came to the engine. */
const asked = new Set<string>();

beforeAll(async () => {
  // A judge that is often wrong: there is something to reject.
  cluster = await startCluster({ accuracy: 0.7 });
  coordinator = await cluster.start('coordinator');
  proxy = await startEngineProxy(cluster.engine.url, (body) => {
    const { messages = [] } = JSON.parse(body) as { messages?: readonly Turn[] };
    for (const { role, content } of messages) if (role === 'user') asked.add(content);
    return 'pass';
  });
  await Promise.all([cluster.start('grm-worker', enginesAt(proxy.url)), cluster.start('meta-worker')]);
  using client = clientOf(coordinator);
  await cluster.serving(client, 1, 1);
  cli = await cliFolder({ GRM_ADDRESS: coordinator.grpc, GRM_NATS__SERVERS: JSON.stringify([cluster.nats.url]) });
}, 60_000);

afterAll(async () => {
  await cli[Symbol.asyncDispose]();
  await cluster[Symbol.asyncDispose]();
  await proxy[Symbol.asyncDispose]();
});

type Row = Readonly<Record<string, unknown>>;

interface Turn {
  readonly role: string;
  readonly content: string;
}

/** The fake judge reads the planted quality; the best response stands in either place. */
function item(id: number, more: object = {}): Row {
  const responses = [`Answer one to ${id}, quality=6.`, `Answer two to ${id}, quality=4.`];
  const best = id % 2;
  return { id, query: `Question ${id}?`, responses: best === 0 ? responses : responses.toReversed(), best, ...more };
}

async function itemsFile(name: string, items: readonly unknown[]): Promise<string> {
  const path = cli.file(name);
  await writeFile(path, items.map((each) => `${typeof each === 'string' ? each : JSON.stringify(each)}\n`).join(''));
  return path;
}

async function rowsOf(path: string): Promise<readonly Row[]> {
  return jsonLines(await readFile(path, 'utf8'));
}

interface Kept {
  readonly hinted: boolean;
  readonly correct: boolean;
  readonly reason: string | null;
  readonly text: string;
  readonly nonce: string;
  readonly permutation: readonly number[];
  readonly request_id: string;
}

describe('grm spct rft', () => {
  it('samples, selects, and writes what trainers read: prompts as they were asked, outputs as they came', async () => {
    const items = Array.from({ length: 40 }, (_, id) => item(id, { domain: id < 20 ? 'maths' : 'prose' }));
    const path = await itemsFile('items.jsonl', items);
    const [out, report, prompts] = [cli.file('rft.jsonl'), cli.file('report.json'), cli.file('prompts.jsonl')];
    const command = ['spct', 'rft', path, '--out', out, '--hinted', '1', '--report', report, '--prompts', prompts];
    const { code, err } = await cli.run(command);
    expect(err).toMatch(/sampled 40\/40 .*\n40 items: \d+ kept, \d+ too easy/);
    expect(code).toBe(0);

    const records = (await rowsOf(cli.file('rft.trajectories.jsonl'))) as unknown as readonly (Row & {
      trajectories: readonly Kept[];
    })[];
    expect(records.map(({ id }) => id)).toEqual(items.map(({ id }) => String(id)));
    for (const { trajectories } of records)
      expect(trajectories.map(({ hinted }) => hinted)).toEqual([false, false, false, true]);

    // Selection, by the rule and nothing else.
    const rows = (await rowsOf(out)) as readonly (Row & { messages: readonly Turn[] })[];
    const expected = records.flatMap(({ trajectories, id }) => {
      const plain = trajectories.filter(({ hinted }) => !hinted);
      const easy = plain.every(({ correct }) => correct);
      return trajectories.filter(({ correct, hinted }) => correct && (hinted || !easy)).map(({ text }) => [id, text]);
    });
    expect(rows.map(({ id, messages }) => [id, messages.at(-1)?.content])).toEqual(expected);
    expect(expected.length).toBeGreaterThan(10);
    const all = records.flatMap(({ trajectories }) => trajectories);
    expect(all.some(({ correct }) => !correct)).toBe(true);

    // The prompts are those of the template, and none says which is best; though the engine was told.
    const parsed = parseTemplate(await readFile(`${packageRoot}/templates/grm-default.txt`, 'utf8'));
    if (parsed.kind !== 'ok') throw new Error('the template is wrong');
    for (const row of rows) {
      const { query, responses, trajectories } = records[Number(row.id)]!;
      const its = trajectories.find(({ text }) => text === row.messages.at(-1)?.content)!;
      const content = { messages: query as never, responses: responses as string[], principles: [] };
      expect(row.messages.slice(0, -1)).toEqual(
        renderPrompt(parsed.template, { content, permutation: row.permutation as number[], nonce: its.nonce }),
      );
    }
    expect(JSON.stringify(rows)).not.toContain('is the best one');
    for (const { messages, permutation, labels, hinted } of rows) {
      const place = (permutation as number[]).indexOf((labels as number[]).indexOf(1)) + 1;
      const hint = hinted === true ? `\n\nIt is known that response ${place} is the best one.` : '';
      expect(asked.has(`${messages.at(-2)?.content}${hint}`)).toBe(true);
    }
    expect(rows.some(({ hinted }) => hinted === true)).toBe(true);
    expect(new Set(records[0]!.trajectories.map(({ request_id: request }) => request)).size).toBe(2);

    // The prompt set for RL has every item, whatever came of it, with the prompt of its first sample.
    const askedRows = await rowsOf(prompts);
    expect(err).toContain(`, 40 prompts in ${prompts}, `);
    expect(askedRows).toEqual(
      records.map(({ query, responses, best, trajectories }, id) => {
        const { permutation, nonce } = trajectories[0]!;
        const content = { messages: query as never, responses: responses as string[], principles: [] };
        const prompt = renderPrompt(parsed.template, { content, permutation, nonce });
        const [domain, labels] = [id < 20 ? 'maths' : 'prose', best === 0 ? [1, 0] : [0, 1]];
        return { id: String(id), domain, prompt, n: 2, labels, permutation };
      }),
    );
    for (const { prompt } of askedRows) expect(asked.has((prompt as Turn[]).at(-1)!.content)).toBe(true);

    const counts = JSON.parse(await readFile(report, 'utf8')) as Record<string, unknown>;
    const hinted = all.filter((each) => each.hinted);
    expect(counts).toMatchObject({
      report: 'spct_rft',
      items: { rows: 40, failed: {} },
      plain: { drawn: 120 },
      hinted: { drawn: 40, accepted: hinted.filter(({ correct }) => correct).length },
      domains: { maths: { items: { rows: 20 } }, prose: { items: { rows: 20 } } },
    });
    expect((counts.tokens as { completion: number }).completion).toBeGreaterThan(1_000);

    // The rewards of the rows are all +1: one rule, three doors.
    const rewardRows = rows.map(({ messages, ...row }) => ({ ...row, completion: messages.slice(-1) }));
    const rewarded = await cli.run(['spct', 'reward', await itemsFile('reward.jsonl', rewardRows)]);
    expect(rewarded.code).toBe(0);
    expect(jsonLines(rewarded.out).map((each) => each.reward)).toEqual(rows.map(() => 1));
  }, 60_000);

  it('chooses again from what is there, with no cluster', async () => {
    const path = await itemsFile(
      'again.jsonl',
      Array.from({ length: 6 }, (_, id) => item(100 + id)),
    );
    const out = cli.file('again-rft.jsonl');
    const command = ['spct', 'rft', path, '--out', out];
    expect((await cli.run(command)).code).toBe(0);
    const before = await readFile(out, 'utf8');
    const nobody = ['--address', '127.0.0.1:9'];
    expect((await cli.run([...command, ...nobody])).code).toBe(0);
    expect(await readFile(out, 'utf8')).toBe(before);
    const easy = await cli.run([...command, ...nobody, '--keep-easy', '--json']);
    const { rows, report } = jsonLines(easy.err).at(-1) as { rows: number; report: { plain: { accepted: number } } };
    expect(rows).toBe(report.plain.accepted);
    expect(rows).toBeGreaterThanOrEqual(jsonLines(before).length);
  }, 60_000);

  it('says what is wrong with rows, all at once and with their lines, and samples the others', async () => {
    const path = await itemsFile('wrong.jsonl', [
      item(200),
      '{"query": ',
      { query: 'Q?', responses: ['a', 3], best: 2, domain: 7 },
      '',
      { query: 'Q?', responses: ['a', 'b'], labels: [5, 5] },
      { query: 'How good is it?', responses: ['an answer of quality=7'], labels: [7] },
    ]);
    const [out, report, prompts] = [cli.file('wrong-rft.jsonl'), cli.file('wrong.json'), cli.file('wrong-rl.jsonl')];
    const command = ['spct', 'rft', path, '--out', out, '--hinted', '2', '--report', report, '--prompts', prompts];
    const { code, err } = await cli.run(command);
    expect(err).toMatch(/^line 2: unreadable: the line is no JSON/m);
    expect(err).toMatch(/^line 3: malformed: responses\[1\]: .*; domain: .*; best: came 2/m);
    expect(code).toBe(1);
    expect((await rowsOf(prompts)).map(({ labels }) => labels)).toEqual([[1, 0], [7]]);
    expect(JSON.parse(await readFile(report, 'utf8'))).toMatchObject({
      items: { rows: 5, no_unique_best: 1, failed: { unreadable: 1, malformed: 1 } },
      plain: { drawn: 6 },
      // One response has no best to name.
      hinted: { drawn: 2 },
    });
  }, 60_000);

  it('K2: goes on where kill -9 stopped it, and ends with the same files', async () => {
    const path = await itemsFile(
      'kill.jsonl',
      Array.from({ length: 80 }, (_, id) => item(300 + id)),
    );
    const out = cli.file('kill-rft.jsonl');
    const trajectories = cli.file('kill-rft.trajectories.jsonl');
    const command = ['spct', 'rft', path, '--out', out, '--hinted', '1', '--concurrency', '6'];
    const size = async (): Promise<number> => (existsSync(trajectories) ? (await readFile(trajectories)).length : 0);
    cluster.engine.setFaults([{ kind: 'slow', probability: 1, delayMs: 60, on: 'generate' }]);
    const first = cli.start(...command);
    await until(async () => (await size()) > 10_000, 'some items are sampled');
    first.kill('SIGKILL');
    expect(await first.ended).toBe('SIGKILL');
    expect(existsSync(out)).toBe(false);
    await truncate(trajectories, (await size()) - 25);
    cluster.engine.setFaults([]);
    const second = await cli.run(command);
    expect(second.err).toMatch(/80 items \([1-9]\d* from an earlier run\)/);
    expect(second.code).toBe(0);

    const drawn = cluster.engine.stats().requests;
    const anew = cli.file('anew.jsonl');
    expect((await cli.run(['spct', 'rft', path, '--out', anew, '--hinted', '1'])).code).toBe(0);
    expect(await readFile(cli.file('anew.trajectories.jsonl'), 'utf8')).toBe(await readFile(trajectories, 'utf8'));
    expect(await readFile(anew, 'utf8')).toBe(await readFile(out, 'utf8'));

    // What only time ended is sampled in its place when the same command comes again; what was chosen follows.
    const [whole, chosen] = [await readFile(trajectories, 'utf8'), await readFile(out, 'utf8')];
    const error = { kind: 'incomplete', message: '1 of 3 samples came within the time', line: 8 };
    const lost = whole.split('\n').map((line, at) => {
      const head = /^\{"row":\d+,"input":"\w+",/.exec(line);
      return at % 9 === 7 && head ? `${head[0]}"retry":true,${JSON.stringify({ id: null, error }).slice(1)}` : line;
    });
    await writeFile(trajectories, lost.join('\n'));
    const nobody = await cli.run([...command, '--address', '127.0.0.1:9']);
    expect(nobody.err).toContain('items that only time ended are not tried again: no coordinator answers');
    expect(nobody.code).toBe(1);
    expect((await cli.run(command)).code).toBe(0);
    expect([await readFile(trajectories, 'utf8'), await readFile(out, 'utf8')]).toEqual([whole, chosen]);
    expect(cluster.engine.stats().requests).toBe(drawn);
  }, 90_000);

  it('Ctrl-C is clean, and the same command goes on', async () => {
    const path = await itemsFile(
      'ctrl-c.jsonl',
      Array.from({ length: 100 }, (_, id) => item(400 + id)),
    );
    const command = ['spct', 'rft', path, '--out', cli.file('ctrl-c-rft.jsonl'), '--concurrency', '4'];
    const trajectories = cli.file('ctrl-c-rft.trajectories.jsonl');
    cluster.engine.setFaults([{ kind: 'slow', probability: 1, delayMs: 60, on: 'generate' }]);
    const run = cli.start(...command);
    await until(async () => existsSync(trajectories) && (await readFile(trajectories)).length > 5_000, 'it samples');
    run.kill('SIGINT');
    expect(await run.ended).toBe(130);
    expect(run.err()).toContain('interrupted; the same command goes on from here');
    expect((await rowsOf(trajectories)).every((each) => !('error' in each))).toBe(true);
    cluster.engine.setFaults([]);
    expect((await cli.run(command)).code).toBe(0);
    expect(await rowsOf(trajectories)).toHaveLength(100);
  }, 90_000);

  it('refuses files of others, templates that nobody asked with, and options that keep nothing', async () => {
    const path = await itemsFile('refuse.jsonl', [item(500)]);
    const [out, foreign] = [cli.file('refuse-rft.jsonl'), await itemsFile('foreign.jsonl', [{ messages: [] }])];
    const template = cli.file('other.txt');
    await writeFile(template, `# another\n${await readFile(`${packageRoot}/templates/grm-default.txt`, 'utf8')}`);
    const cases: readonly [string[], RegExp][] = [
      [['--out', out, '--samples', '1'], /--samples 1: .* or --keep-easy/],
      [['--out', path], /the items and --out name one file/],
      [['--out', out, '--prompts', out], /--out and --prompts name one file/],
      [['--out', out, '--prompts', foreign], /foreign\.jsonl exists and is no earlier result/],
      [['--out', foreign], /foreign\.jsonl exists and is no earlier result/],
      [['--out', out, '--trajectories', foreign], /foreign\.jsonl exists and is not the output of `grm spct rft`/],
      [
        ['--out', out, '--set', `templates.grm=${template}`],
        /judged with the prompt template [0-9a-f]{12}, which is none/,
      ],
      [['--out', out, '--template', 'nowhere', '--trajectories', cli.file('t')], /1 items.*failed: 1 invalid_request/s],
    ];
    for (const [flags, words] of cases) {
      const { code, err } = await cli.run(['spct', 'rft', path, ...flags]);
      expect(err, flags.join(' ')).toMatch(words);
      expect(code, flags.join(' ')).toBe(flags.includes('nowhere') ? 1 : 2);
    }
    expect(await readFile(foreign, 'utf8')).toBe('{"messages":[]}\n');
    expect((await cli.run(['spct', 'rft', path, '--out', out])).code).toBe(0);
    const others = await cli.run(['spct', 'rft', path, '--out', out, '--samples', '5']);
    expect([others.code, others.err]).toEqual([2, expect.stringContaining('written for another input, or with other')]);
  }, 60_000);
});

describe('grm spct meta-data', () => {
  it('labels trajectories of RFT and fresh ones, balanced, and never an item in two parts', async () => {
    const items = Array.from({ length: 60 }, (_, id) => item(600 + id));
    const path = await itemsFile('meta-items.jsonl', items);
    expect((await cli.run(['spct', 'rft', path, '--out', cli.file('m.jsonl'), '--hinted', '1'])).code).toBe(0);
    const [out, report] = [cli.file('meta-{split}.jsonl'), cli.file('meta.json')];
    const shares = ['--validation', '0.2', '--test', '0.2', '--report', report];
    const fresh = ['--fresh', path, '--samples', '4'];
    const command = ['spct', 'meta-data', cli.file('m.trajectories.jsonl'), '--out', out, ...shares, ...fresh];
    const { code, err } = await cli.run(command);
    expect(err).toMatch(/120 items, 480 trajectories; left out: 60 hinted, 0 invalid, \d+ duplicates\ntrain: /);
    expect(code).toBe(0);

    const parts = ['train', 'validation', 'test'] as const;
    const rows = await Promise.all(parts.map((part) => rowsOf(cli.file(`meta-${part}.jsonl`))));
    const itemsIn = rows.map((part) => new Set(part.map((row) => row.item)));
    for (const [at, here] of itemsIn.entries())
      for (const there of itemsIn.slice(at + 1)) expect([...here].filter((each) => there.has(each))).toEqual([]);
    expect(itemsIn.reduce((sum, { size }) => sum + size, 0)).toBe(60);
    const train = rows[0]!;
    const weigh = (label: number): number =>
      train.filter((row) => row.label === label).reduce((sum, row) => sum + (row.weight as number), 0);
    expect(weigh(1)).toBeCloseTo(weigh(0), 6);
    expect(weigh(1)).toBeCloseTo(train.length / 2, 6);
    for (const row of rows.flat()) {
      expect(row.hinted).toBe(false);
      expect(row.completion).toEqual([{ role: 'assistant', content: row.label === 1 ? 'Yes' : 'No' }]);
      expect((row.prompt as Turn[]).map(({ role }) => role)).toEqual(['system', 'user']);
      expect(row.text).toContain('Scores: \\boxed{');
    }
    expect(JSON.parse(await readFile(report, 'utf8'))).toMatchObject({
      report: 'spct_meta',
      items: 120,
      balance: 'weight',
      parts: { train: { rows: train.length, correct: train.filter(({ label }) => label === 1).length } },
      warnings: [],
    });

    // By dropping, and all in one file.
    const down = cli.file('down.jsonl');
    const again = ['spct', 'meta-data', cli.file('m.trajectories.jsonl'), '--out', down, '--balance', 'down'];
    expect((await cli.run([...again, '--test', '0.3'])).code).toBe(0);
    const balanced = (await rowsOf(down)).filter(({ split }) => split === 'train');
    expect(balanced.filter(({ label }) => label === 1)).toHaveLength(balanced.length / 2);
  }, 90_000);

  it('says what it cannot read', async () => {
    const out = ['--out', cli.file('nothing.jsonl')];
    const bad = await itemsFile('bad.jsonl', [{ query: 'Q?', responses: ['a', 'b'], best: 0 }]);
    const cases: readonly [string[], RegExp][] = [
      [[], /nothing to label/],
      [[bad], /bad\.jsonl line 1 is no line of a trajectories file: trajectories: came none/],
      [[cli.file('nowhere')], /cannot read .*nowhere: ENOENT/],
      [[bad, '--validation', '0.5', '--test', '0.5'], /leave nothing for training/],
    ];
    for (const [args, words] of cases) {
      const { code, err } = await cli.run(['spct', 'meta-data', ...args, ...out]);
      expect(err).toMatch(words);
      expect(code).toBe(2);
    }
    expect(existsSync(cli.file('nothing.jsonl'))).toBe(false);
    expect(existsSync(cli.file('nothing.jsonl.part'))).toBe(false);
  }, 60_000);
});

describe('grm spct reward', () => {
  const said = (scores: string): string => `Analysis:\ny\nScores: \\boxed{${scores}}`;

  it('over a file: a number per row, or what is wrong with it, and goes on where it stopped', async () => {
    const path = await itemsFile('rewards.jsonl', [
      { id: 1, completion: said('3, 9'), best: 1, n: 2 },
      { id: 2, completion: 'nothing', best: 1, n: 2 },
      { id: 3, completion: said('3, 9'), best: 7, n: 2 },
      'x',
    ]);
    const out = cli.file('rewards-out.jsonl');
    const first = await cli.run(['spct', 'reward', path, '--out', out]);
    expect(first.err).toContain('4 rows: 1 correct, 0 incorrect, 1 invalid, 2 failed');
    expect(first.code).toBe(1);
    const rows = await rowsOf(out);
    expect(rows).toMatchObject([
      { id: 1, reward: 1, correct: true, reason: null, scores: [3, 9] },
      { id: 2, reward: -1, correct: false, reason: 'no_box', scores: null },
      { id: 3, reward: null, error: { kind: 'malformed', line: 3, violations: [{ field: 'best' }] } },
      { id: null, reward: null, error: { kind: 'unreadable', line: 4 } },
    ]);
    await truncate(out, (await readFile(out)).length - 30);
    expect((await cli.run(['spct', 'reward', path, '--out', out])).err).toContain('4 rows (3 from an earlier run)');
    expect(await rowsOf(out)).toEqual(rows);
  }, 60_000);

  it('as a door: tells where it listens, answers, and ends cleanly', async () => {
    const token = cli.file('token');
    await writeFile(token, 'secret\n');
    const run = cli.start('spct', 'reward', '--listen', '127.0.0.1:0', '--require-token-file', token, '--json');
    await run.says('listening');
    const [{ address } = {}] = jsonLines(run.out());
    const response = await fetch(`http://${String(address)}/spct/reward`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: 'Bearer secret' },
      body: JSON.stringify({ rows: [{ completion: said('3, 9'), labels: [1, 2] }] }),
    });
    expect(await response.json()).toEqual({ rewards: [1], reasons: [null], scores: [[3, 9]] });
    run.kill('SIGTERM');
    expect(await run.ended).toBe(0);
    expect(jsonLines(run.err())).toEqual([{ event: 'end', batches: 1, rows: 1, refused: 0 }]);

    const open = await cli.run(['spct', 'reward', '--listen', '0.0.0.0:0']);
    expect([open.code, open.err]).toEqual([2, expect.stringContaining('give --require-token-file')]);
    const both = await cli.run(['spct', 'reward', 'x', '--listen', '127.0.0.1:0']);
    expect([both.code, both.err]).toEqual([2, expect.stringContaining('--listen serves requests')]);
  }, 60_000);
});
