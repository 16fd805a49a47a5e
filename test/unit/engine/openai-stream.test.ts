import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readGeneration } from '../../../src/engine/openai-stream.js';

const bytesMax = 1_000_000;

// eslint-disable-next-line @typescript-eslint/require-await -- a body is an async source, whatever feeds it
async function* body(chunks: readonly Buffer[], broken?: Error): AsyncGenerator<Buffer> {
  yield* chunks;
  if (broken) throw broken;
}

const event = (value: unknown) => `data: ${typeof value === 'string' ? value : JSON.stringify(value)}\n\n`;
const delta = (content: string, finish: string | null = null) =>
  event({ choices: [{ index: 0, delta: { content }, finish_reason: finish }] });
const usage = event({
  choices: [],
  usage: { prompt_tokens: 9, completion_tokens: 3, prompt_tokens_details: { cached_tokens: 4 } },
});

function read(
  text: string,
  options: { contentType?: string; max?: number; tokensMax?: number; broken?: Error; cuts?: readonly number[] } = {},
) {
  const bytes = Buffer.from(text);
  const cuts = [0, ...(options.cuts ?? []).map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  const chunks = cuts.slice(1).map((to, at) => bytes.subarray(cuts[at], to));
  const reply = { contentType: options.contentType ?? 'text/event-stream', body: body(chunks, options.broken) };
  return readGeneration(
    reply,
    options.max ?? bytesMax,
    (message) => message.replaceAll('sk-secret', '***'),
    options.tokensMax,
  );
}

describe('reading a streamed generation', () => {
  it('joins the deltas and reads the finish reason and the usage, however the bytes are cut', async () => {
    const stream =
      delta('') + delta('Scores: ') + delta('日本 \\boxed{8, 3}') + delta('', 'stop') + usage + event('[DONE]');
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(), { maxLength: 20 }), async (cuts) => {
        expect(await read(stream, { cuts })).toEqual({
          kind: 'text',
          text: 'Scores: 日本 \\boxed{8, 3}',
          finishReason: 'stop',
          usage: { promptTokens: 9, cachedTokens: 4, completionTokens: 3 },
        });
      }),
    );
  });

  it('R1: a stream without a finish reason was cut, whether it ends politely or not', async () => {
    expect(await read(delta('half'))).toMatchObject({ kind: 'retryable', reason: 'the stream was cut' });
    const broken = Object.assign(new Error('other side closed'), { code: 'UND_ERR_SOCKET' });
    expect(await read(delta('half'), { broken })).toMatchObject({
      kind: 'retryable',
      reason: 'the stream was cut (connection failed: UND_ERR_SOCKET)',
    });
  });

  it('R1: an empty finish reason ends nothing; [DONE] does where no reason came', async () => {
    for (const finish of ['', ' ', null]) {
      const pieces = delta('Scores: ', finish) + delta('\\boxed{8, 3}', finish);
      expect(await read(pieces)).toMatchObject({ kind: 'retryable', reason: 'the stream was cut' });
      expect(await read(pieces + event('[DONE]'))).toMatchObject({ text: 'Scores: \\boxed{8, 3}', finishReason: '' });
      expect(await read(pieces + delta('', 'length') + delta('', finish) + event('[DONE]'))).toMatchObject({
        finishReason: 'length',
      });
    }
    // As many tokens as it may have: it did not end by itself.
    const three = delta('a') + delta('b') + delta('c') + event('[DONE]');
    expect(await read(three, { tokensMax: 3 })).toMatchObject({ finishReason: 'length' });
    expect(await read(three, { tokensMax: 4 })).toMatchObject({ finishReason: '' });
    const without = event({ choices: [{ index: 0, delta: { content: 'a' } }] });
    expect(await read(without)).toMatchObject({ kind: 'retryable' });
    expect(await read(without + event('[DONE]'))).toMatchObject({ text: 'a', finishReason: '' });
    const whole = JSON.stringify({ choices: [{ message: { content: 'a' }, finish_reason: '' }] });
    expect(await read(whole, { contentType: 'application/json' })).toMatchObject({ kind: 'retryable' });
  });

  it('R1: reasons that mean that the server gave up end nothing, in any words', async () => {
    for (const finish of ['abort', 'error', 'canceled', 'CANCELLED', 'timeout', 'insufficient_system_resource'])
      expect(await read(delta('Scores: \\boxed{8, 3}', finish) + event('[DONE]'))).toMatchObject({
        kind: 'retryable',
        reason: `the engine gave up: ${finish}`,
      });
    for (const finish of ['content_filter', 'tool_calls', 'max_tokens'])
      expect(await read(delta('a', finish))).toMatchObject({ kind: 'text', finishReason: finish });
  });

  it('keeps a text whose connection broke after its end, and counts chunks when there is no usage', async () => {
    const broken = Object.assign(new Error('reset'), { code: 'ECONNRESET' });
    expect(await read(delta('a') + delta('b', 'length'), { broken })).toEqual({
      kind: 'text',
      text: 'ab',
      finishReason: 'length',
      usage: { promptTokens: 0, cachedTokens: 0, completionTokens: 2 },
    });
  });

  it('R2: stops at the byte limit, for the reply and for one event', async () => {
    expect(await read(delta('x'.repeat(2_000), 'stop'), { max: 1_000 })).toMatchObject({ kind: 'retryable' });
    let pulled = 0;
    // eslint-disable-next-line @typescript-eslint/require-await -- as above
    async function* endless(): AsyncGenerator<Buffer> {
      for (;;) {
        pulled += 1;
        yield Buffer.from('data: {"choices":[]}\n\n');
      }
    }
    const result = await readGeneration({ contentType: 'text/event-stream', body: endless() }, 10_000, (text) => text);
    expect(result).toMatchObject({ kind: 'retryable', reason: 'the reply is larger than 10000 bytes' });
    expect(pulled).toBeLessThan(600);
  });

  it('takes a whole JSON reply from a server that does not stream, in chat and plain shape', async () => {
    const reply = (choice: object) => JSON.stringify({ choices: [{ index: 0, ...choice, finish_reason: 'stop' }] });
    const contentType = 'application/json';
    expect(await read(reply({ message: { content: 'chat' } }), { contentType })).toMatchObject({ text: 'chat' });
    expect(await read(reply({ text: 'plain' }), { contentType })).toMatchObject({ text: 'plain' });
  });

  it('classifies an error inside the stream, without the secret in it', async () => {
    const failed = event({ error: { message: 'sk-secret overloaded', code: 503 } });
    expect(await read(delta('a') + failed)).toMatchObject({ kind: 'retryable', reason: 'HTTP 503: *** overloaded' });
    const tooLong = event({ error: { message: 'maximum context length is 10', code: 400 } });
    expect(await read(tooLong)).toMatchObject({ kind: 'terminal', why: 'context_exceeded' });
  });

  it('tries again what the engine gave up on and what is not JSON', async () => {
    expect(await read(delta('a', 'abort'))).toMatchObject({ kind: 'retryable', reason: 'the engine gave up: abort' });
    expect(await read(event('{"choices":'))).toMatchObject({ kind: 'retryable', reason: 'the reply is not JSON' });
  });

  it('never throws, whatever bytes come', async () => {
    const contentType = fc.constantFrom('text/event-stream', 'application/json');
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), contentType, async (bytes, type) => {
        const reply = { contentType: type, body: body([Buffer.from(bytes)]) };
        expect((await readGeneration(reply, bytesMax, (text) => text)).kind).toBe('retryable');
      }),
    );
  });
});
