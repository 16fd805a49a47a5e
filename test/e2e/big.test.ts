// Requests of many bytes and of many samples: content travels by reference, the verdict arrives whole.

import { expect, test } from 'vitest';
import { limits } from '../../src/limits.js';
import { GrmError } from '../../src/rpc/client.js';
import { clientOf, metric, once, quiet, settled, startCluster } from '../support/cluster.js';

const MiB = 1024 * 1024;

/** Text of about so many bytes that no cache can fold: every line differs. */
function filler(bytes: number, salt: string): string {
  const lines: string[] = [];
  for (let length = 0, line = 0; length < bytes; line++) {
    const text = `${salt} ${line}: the quick brown fox ${(line * 2_654_435_761) % 1_000_003} jumps.`;
    lines.push(text);
    length += text.length + 1;
  }
  return lines.join('\n').slice(0, bytes);
}

test('P1 P4: requests of 1 MB and of 8 MB travel by reference and are judged whole; one byte more is refused with its violation; k = 128', async () => {
  // A context that holds them, and memory for a few at once.
  await using cluster = await startCluster({ maxModelLen: 16_000_000, kvBlocks: 4_000_000 });
  const coordinator = await cluster.start('coordinator');
  const worker = await cluster.start('grm-worker');
  await cluster.start('meta-worker');
  using client = clientOf(coordinator, once);
  await cluster.serving(client, 1, 1);

  for (const [bytes, k] of [
    [1 * MiB, 4],
    [limits.contentBytesMax, 2],
  ] as const) {
    const query = `Which is better, at ${bytes} bytes?`;
    const responses = ['Good, quality=9.', 'Bad, quality=2. '];
    const used = Buffer.byteLength(query) + responses.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
    const whole = { query, responses: [responses[0]!, responses[1]! + filler(bytes - used, `text of ${bytes}`)], k };
    const verdict = await client.score({ ...whole, idempotencyKey: `big-${bytes}` }, { deadlineMs: 120_000 });
    expect(verdict).toMatchObject({ kind: 'valid', best: 0, kValid: k, vote: 'meta_topk', degraded: [] });
    // The engine saw all of it: a token of the fake engine is about four bytes.
    for (const { sample } of verdict.samples) expect(sample.usage.promptTokens).toBeGreaterThan(bytes / 8);
    const stored = await client.verdict(`big-${bytes}`);
    expect(stored?.verdict).toEqual({ ...verdict, stored: true });
    expect(stored?.content?.responses[1]?.length).toBe(whole.responses[1]!.length);
  }

  const over = await settled(
    client.score({ query: 'Too big?', responses: ['a', filler(limits.contentBytesMax, 'over')] }),
  );
  expect(over).toBeInstanceOf(GrmError);
  expect(over).toMatchObject({ kind: 'invalid_request', violations: [{ field: 'content' }] });
  expect((over as GrmError).violations[0]?.description).toMatch(/at most 8388608/);
  // So big that no message holds it: the client's own library or the door says so, and the connection lives.
  const farOver = await settled(client.score({ query: 'Far too big?', responses: ['a', filler(16 * MiB, 'far')] }));
  expect(farOver).toBeInstanceOf(GrmError);

  const most = await client.score(
    { query: 'Many samples?', responses: ['quality=8', 'quality=4', 'quality=6'], k: limits.kMax },
    { deadlineMs: 120_000 },
  );
  expect(most).toMatchObject({
    kind: 'valid',
    best: 0,
    k: 128,
    kValid: 128,
    kKept: 64,
    vote: 'meta_topk',
    degraded: [],
  });
  expect(new Set(most.samples.map(({ sample }) => sample.seed)).size).toBe(128);
  const tooMany = await settled(client.score({ query: 'More?', responses: ['a', 'b'], k: limits.kMax + 1 }));
  expect(tooMany).toMatchObject({ kind: 'invalid_request', violations: [{ field: 'options.k' }] });
  await quiet(client);
  expect(await metric(worker, 'grm_samples_total', { outcome: 'scored' })).toBe(4 + 2 + 128);
}, 240_000);
