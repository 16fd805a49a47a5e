import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CliError } from '../../../src/cli/context.js';
import { resultColumns, verdictRow } from '../../../src/cli/render.js';
import { countRows, openInput, readRow, readRows, type Input, type Row, type RowBody } from '../../../src/cli/rows.js';
import { intake } from '../../../src/coordinator/intake.js';
import { vote } from '../../../src/grm/vote.js';
import { limits } from '../../../src/limits.js';
import { scored, voteInput } from '../../support/judgement.js';

async function* one(bytes: Buffer): AsyncGenerator<Buffer> {
  yield await Promise.resolve(bytes);
}

async function rowsOf(text: string | Buffer, salt = ''): Promise<Row[]> {
  const found: Row[] = [];
  for await (const row of readRows(one(Buffer.from(text)), salt)) found.push(row);
  return found;
}

function inputOf(bytes: Buffer): Input {
  return { regular: true, stream: () => one(bytes) };
}

function request(line: string): Extract<RowBody, { kind: 'request' }> {
  const body = readRow(Buffer.from(line));
  if (body.kind === 'unreadable') throw new Error(body.reason);
  return body;
}

function reason(line: string | Uint8Array): string {
  const body = readRow(typeof line === 'string' ? Buffer.from(line) : line);
  return body.kind === 'unreadable' ? body.reason : `read as ${JSON.stringify(body)}`;
}

describe('a row', () => {
  it('is read with all that a request may hold', () => {
    const body = request(
      JSON.stringify({
        id: 7,
        query: 'q',
        responses: ['a', 'b'],
        reference: 'r',
        principles: ['short', { text: 'long', weight_percent: 40 }],
        tenant: 't',
        class: 'batch',
        idempotency_key: 'key',
        options: { k: 4, k_meta: 2, top_p: 0.9, max_tokens: 10, time_budget_ms: 5_000 },
      }),
    );
    const taken = intake(body.raw);
    expect(taken).toEqual({
      kind: 'ok',
      input: {
        idempotencyKey: 'key',
        tenant: 't',
        class: 'batch',
        content: {
          messages: [{ role: 'user', content: 'q' }],
          responses: ['a', 'b'],
          reference: 'r',
          principles: [{ text: 'short' }, { text: 'long', weightPercent: 40 }],
        },
        contentBytes: 13,
        options: { k: 4, kMeta: 2, topP: 0.9, maxTokens: 10, timeBudgetMs: 5_000 },
      },
    });
  });

  it('carries its other columns over, but none that the output says itself', () => {
    const { columns } = request(
      '{"query":"q","responses":["a"],"7":"seven","label":0,"row":5,"k":3,"rewards":[1],"__proto__":1}',
    );
    expect(JSON.parse(`{${columns}}`)).toEqual(JSON.parse('{"id":null,"7":"seven","label":0,"__proto__":1}'));
    expect(columns.startsWith('"id":null,')).toBe(true);
  });

  it('is read with what is misspelt in its options, so that it is told beside all else that is wrong', () => {
    const { misspelt } = request('{"query":"q","responses":[],"options":{"temprature":1,"k":0,"kMeta":2}}');
    expect(misspelt).toEqual([
      { field: 'options', description: expect.stringMatching(/^came temprature, kMeta, expected k, k_meta/) as string },
    ]);
    expect(request('{"query":"q","responses":["a"],"options":{"k":0}}').misspelt).toEqual([]);
    expect(request('{"query":"q","responses":["a"],"options":7}').misspelt).toEqual([]);
  });

  it('is read with what is misspelt in its principles, and what was probably meant', () => {
    const principles = ['short', { text: 'a', weight: 40 }, { txt: 'b' }, { text: 'c', weight_percent: 5, colour: 1 }];
    const { misspelt } = request(JSON.stringify({ query: 'q', responses: ['a'], principles }));
    const came = 'came an unknown key, expected text, weight_percent';
    expect(misspelt).toEqual([
      { field: 'content.principles[1].weight', description: `${came}: did you mean weight_percent?` },
      { field: 'content.principles[2].txt', description: `${came}: did you mean text?` },
      { field: 'content.principles[3].colour', description: came },
    ]);
  });

  it.each([
    ['no JSON', '{"query": ', /no JSON/],
    ['a list', '[1]', /expected an object/],
    ['null', 'null', /expected an object/],
    ['a text', '"x"', /expected an object/],
    ['a number', '12', /expected an object/],
    ['NUL', '\u0000', /no JSON/],
    ['NUL inside a text', '{"query":"a\u0000b"}', /no JSON/],
    ['two objects', '{}{}', /no JSON/],
  ])('that is %s is unreadable', (_, line, expected) => {
    expect(reason(line)).toMatch(expected);
  });

  it('that is not UTF-8 is unreadable, not silently another text', () => {
    expect(reason(Buffer.concat([Buffer.from('{"query":"'), Buffer.from([0xc3, 0x28]), Buffer.from('"}')]))).toBe(
      'the line is not UTF-8',
    );
  });

  it('that is nested too deep to be written again is unreadable', () => {
    const deep = 200_000;
    expect(reason(`{"query":"q","x":${'['.repeat(deep)}${']'.repeat(deep)}}`)).toBe('the line is nested too deep');
  });

  it('may escape NUL and lone surrogates: the request is well-formed', () => {
    const taken = intake(request('{"query":"\\u0000 \\ud800","responses":["\\udfff"],"id":"\\ud800"}').raw);
    expect(taken.kind === 'ok' && taken.input.content).toMatchObject({
      messages: [{ content: '\u0000 \ufffd' }],
      responses: ['\ufffd'],
    });
  });

  it('P7: never makes the reader throw', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array(),
          fc.json().map((text) => Buffer.from(text)),
        ),
        (bytes) => {
          expect(['request', 'unreadable']).toContain(readRow(bytes).kind);
        },
      ),
    );
  });

  it('has every column of a result reserved', () => {
    const verdict = vote(voteInput({ samples: [scored(0, [1, 2])] }));
    for (const key of Object.keys(verdictRow(verdict, true))) expect(resultColumns.has(key), key).toBe(true);
  });
});

describe('rows', () => {
  it('are counted as they are read: blank lines are none, a byte order mark is nothing', async () => {
    const text = Buffer.from('\ufeff{"id":1}\r\n\n \t\r\n{"id":2}\n\ufeff\n\ufeff{"id":3}');
    const rows = await rowsOf(text);
    expect(rows.map(({ number, body }) => [number, body.kind === 'request' ? body.id : body.reason])).toEqual([
      [0, 1],
      [1, 2],
      [2, 3],
    ]);
    expect(await countRows(inputOf(text))).toBe(3);
  });

  it('are as many as counted, whatever the bytes', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom(10, 13, 32, 9, 0, 0x7b, 0x7d, 0xef, 0xbb, 0xbf, 0x31)),
        async (bytes) => {
          const text = Buffer.from(bytes);
          expect(await countRows(inputOf(text))).toBe((await rowsOf(text)).length);
        },
      ),
    );
  });

  it('have digests that tell lines, and what else votes, apart', async () => {
    const [a, b, again] = await rowsOf('{"id":1}\n{"id":2}\n{"id":1}');
    expect(a?.digest).toMatch(/^[0-9a-f]{16}$/);
    expect(again?.digest).toBe(a?.digest);
    expect(b?.digest).not.toBe(a?.digest);
    expect((await rowsOf('{"id":1}', '["k",8]'))[0]?.digest).not.toBe(a?.digest);
  });

  it('longer than a request can be are skipped whole, and the next one is read', async () => {
    const rows = await rowsOf(Buffer.concat([Buffer.alloc(limits.rowBytesMax + 1, 'x'), Buffer.from('\n{"id":2}\n')]));
    expect(rows.map(({ body }) => (body.kind === 'request' ? body.id : body.reason))).toEqual([
      `the line has ${limits.rowBytesMax + 1} bytes, at most ${limits.rowBytesMax} are read`,
      2,
    ]);
  });
});

describe('an input', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'grm-rows-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it('that is a file can be read twice, for its count', async () => {
    const path = join(folder, 'rows.jsonl');
    await writeFile(path, '{"id":1}\n{"id":2}\n');
    const input = await openInput(path);
    expect(await countRows(input)).toBe(2);
    expect(await countRows(input)).toBe(2);
  });

  it('that is a device or a pipe is not read for a count', async () => {
    expect(await countRows(await openInput('/dev/null'))).toBe(undefined);
  });

  it.each(['nowhere.jsonl', '.'])('that is %s is refused as a wrong call', async (name) => {
    const opened = openInput(join(folder, name));
    await expect(opened).rejects.toThrow(CliError);
    await expect(opened).rejects.toMatchObject({ code: 2 });
  });
});
