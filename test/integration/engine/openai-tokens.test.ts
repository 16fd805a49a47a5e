// What servers tell of their tokenizers, by servers that answer as vLLM, llama-server and SGLang do, and as none should.
import { describe, expect, it } from 'vitest';
import { openMetaEngine } from '../../../src/engine/meta.js';
import { openOpenAiEngine } from '../../../src/engine/openai.js';
import { limits } from '../../../src/limits.js';
import { scriptedServer, type Script } from '../../support/scripted-server.js';

type Answers = Readonly<Record<string, (body: Readonly<Record<string, unknown>>) => unknown>>;

/** JSON answers by "METHOD path"; 404 for the rest. */
const answering =
  (answers: Answers): Script =>
  (req, res, body) => {
    const answer = answers[`${req.method ?? ''} ${req.url ?? ''}`];
    res.writeHead(answer === undefined ? 404 : 200, { 'content-type': 'application/json' });
    res.end(JSON.stringify(answer?.(body === '' ? {} : (JSON.parse(body) as Record<string, unknown>)) ?? {}));
  };

async function tokensOf(script: Script, named: readonly string[] = []) {
  await using server = await scriptedServer(script);
  const engine = await openOpenAiEngine({
    name: 'e',
    baseUrl: server.url,
    mode: 'chat',
    slots: 1,
    requestTimeoutMs: 5_000,
    specialTokens: named,
    asksTokens: true,
  });
  await engine.close();
  return { tokens: engine.specialTokens ?? [], seen: [...server.seen] };
}

/** A tokenizer with these words; all else is a token a character. */
const words = (known: readonly string[]) => (text: unknown) =>
  known.includes(String(text)) ? [7] : Array.from(String(text), (_, at) => 100 + at);

describe("P8, I3: an HTTP server's own control tokens", () => {
  it('vLLM with its tokenizer info: special tokens, others that are no HTML, and what of the chat template is one token', async () => {
    const tokenize = words(['<own:turn>', '<user>', ']~x~[']);
    const { tokens } = await tokensOf(
      answering({
        'GET /tokenizer_info': () => ({
          tokenizer_class: 'T',
          chat_template: '{% for m in messages %}<own:turn>{{ m.role }}<own:plain>{{ m.content }}]~x~[{% endfor %}',
          eos_token: { content: '<own:eos>' },
          added_tokens_decoder: {
            1: { content: '<own:pad>', special: true },
            2: { content: '<tool>', special: true },
            3: { content: '<table>', special: false },
            4: { content: '<|own|>', special: false },
            5: { special: true },
          },
        }),
        'POST /tokenize': ({ prompt, add_special_tokens }) =>
          add_special_tokens === false ? { tokens: tokenize(prompt), count: 1, max_model_len: 9 } : {},
      }),
      ['<named>'],
    );
    expect([...tokens].sort()).toEqual(
      ['<named>', '<own:eos>', '<own:pad>', '<own:turn>', '<tool>', '<user>', '<|own|>', ']~x~['].sort(),
    );
  });

  it('llama-server: BOS, EOS, and what of its chat template is one token', async () => {
    const tokenize = words(['[own]', '<video>']);
    const { tokens } = await tokensOf(
      answering({
        'GET /props': () => ({
          bos_token: '<own:bos>',
          eos_token: '</own>',
          chat_template: '[own]{{ content }}[other]',
        }),
        'POST /tokenize': ({ content, parse_special }) =>
          parse_special === true ? { tokens: tokenize(content).map((id) => ({ id, piece: '' })) } : {},
      }),
    );
    expect([...tokens].sort()).toEqual(['</own>', '<own:bos>', '<video>', '[own]']);
  });

  it('SGLang: names that are tokens in some vocabularies, where they are one here', async () => {
    const tokenize = words(['<answer>', '</answer>']);
    const { tokens, seen } = await tokensOf(
      answering({ 'POST /tokenize': ({ prompt }) => ({ tokens: tokenize(prompt), count: 1, max_model_len: 9 }) }),
    );
    expect(tokens).toEqual(['<answer>', '</answer>']);
    expect(seen.length).toBeLessThanOrEqual(limits.tokenProbesMax + 4);
  });

  it.each<readonly [string, Script]>([
    ['a server that knows none of these', answering({})],
    ['one that has one token for everything', answering({ 'POST /tokenize': () => ({ tokens: [1] }) })],
    ['one that answers with something else', (_, res) => void res.end('data: {"choices":[]}')],
    [
      'one with shapes of its own',
      answering({
        'GET /tokenizer_info': () => ({ added_tokens_decoder: [null, 3, 'x'], chat_template: 5 }),
        'GET /props': () => [1],
        'POST /tokenize': () => ({ tokens: 'many' }),
      }),
    ],
    ['one that cuts the connection', (_, res) => void res.destroy()],
  ])('%s tells nothing, and serves all the same with what is configured', async (_, script) => {
    expect((await tokensOf(script, ['<named>'])).tokens).toEqual(['<named>']);
  });

  it('is asked only where prompts are rendered for it, and by meta engines too', async () => {
    const script = answering({ 'GET /props': () => ({ eos_token: '<own:eos>' }) });
    await using server = await scriptedServer(script);
    const common = { name: 'm', baseUrl: server.url, slots: 1, requestTimeoutMs: 5_000 } as const;
    const silent = await openOpenAiEngine({ ...common, mode: 'chat' });
    expect(server.seen).toEqual(['GET /v1/models']);
    const meta = await openMetaEngine({ ...common, kind: 'yes_no', asksTokens: true, specialTokens: ['<named>'] });
    expect(meta.specialTokens).toEqual(['<named>', '<own:eos>']);
    await Promise.all([silent.close(), meta.close()]);
  });
});
