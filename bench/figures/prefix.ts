// Prefix reuse: of the prompt tokens that an engine could find in its cache, how many does it find?

import { startCluster } from '../cluster.js';
import { startFake, type FakeProcess } from '../fake-engine.js';
import { figure, type Figure, type Measurement } from '../figure.js';
import { requestOf } from '../payload.js';

const engines = 4;
const k = 8;
const requests = 40;

export const prefix: Measurement = {
  name: 'prefix',
  title: 'Prompt tokens found in the prefix cache',
  words:
    `${requests} requests of k = ${k} over ${engines} workers with an engine each. What could be found: all prompt tokens but those of one prompt per ` +
    'order of the responses, which somebody has to evaluate. The engines report what they found.',
  notMeasured: ['caches that are full, and prompts shared between requests'],
  measure: async () => {
    const fakes = await Promise.all(Array.from({ length: engines }, () => startFake(['--instant'])));
    try {
      return await found(fakes);
    } finally {
      await Promise.all(fakes.map((fake) => fake[Symbol.asyncDispose]()));
    }
  },
};

async function found(fakes: readonly FakeProcess[]): Promise<Figure[]> {
  await using cluster = await startCluster({
    workers: engines,
    engines: (worker) => [{ kind: 'openai', base_url: fakes[worker]!.url, slots: 16 }],
  });
  const sum = { prompt: 0, cached: 0, needed: 0 };
  for (let at = 0; at < requests; at++) {
    const { samples } = await cluster.client.score(requestOf({ k, vote: 'sum', detail: 'scores' }));
    const orders = new Map(samples.map(({ sample }) => [sample.permutation.join(), sample.usage.promptTokens]));
    for (const { sample } of samples) {
      sum.prompt += sample.usage.promptTokens;
      sum.cached += sample.usage.cachedTokens;
    }
    for (const tokens of orders.values()) sum.needed += tokens;
  }
  return [
    figure('prompt tokens found in the cache', sum.cached, 'tokens', {
      ceiling: sum.prompt - sum.needed,
      bar: { of: 'ratio', is: 'at least', limit: 0.9 },
    }),
  ];
}
