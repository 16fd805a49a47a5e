// That settings do what they say: a key that is documented, checked and read by nobody is worse than none.

import { expect, test } from 'vitest';
import { requestIdOfKey } from '../../../src/coordinator/identity.js';
import { configSchema } from '../../../src/process/schema.js';
import { ask, virtualCluster } from '../../support/virtual-cluster.js';

/** Another value than its default for every key of `defaults`, and what else it needs to be seen. */
const other: Readonly<Record<string, { readonly value: unknown; readonly with?: object }>> = {
  k: { value: 3 },
  temperature: { value: 0.9 },
  topP: { value: 0.8 },
  maxTokens: { value: 77 },
  vote: { value: 'median' },
  quorumRatio: { value: 1 },
  timeBudgetMs: { value: 5_000 },
  stop: { value: 'outcome_fixed' },
  stopError: { value: 0.01, with: { stop: 'confident' } },
  class: { value: 'interactive' },
};

/** What is stored of a request that says nothing. */
async function acceptedWith(defaults: object): Promise<object> {
  const parsed = configSchema.parse({ defaults }).defaults;
  const cluster = await virtualCluster({ settings: { defaults: parsed, defaultClass: parsed.class } });
  const a = cluster.coordinator('a');
  const { class: _class, ...input } = ask();
  void a.score({
    ...input,
    idempotencyKey: 'one',
    content: { ...input.content, messages: [{ role: 'user', content: 'Why?' }] },
  });
  await cluster.clock.advance(50);
  const requestId = requestIdOfKey('one', input.tenant);
  const record = await cluster.clock.until(cluster.nats.open('reader').ledger.record(requestId), 1_000);
  if (!record) throw new Error('the request was not accepted');
  const { plan, class: klass } = record;
  return { plan, class: klass };
}

test('each setting of `defaults` changes what a request gets that does not say', async () => {
  expect(Object.keys(other).sort()).toEqual(Object.keys(configSchema.parse({}).defaults).sort());
  for (const [name, { value, with: needed = {} }] of Object.entries(other)) {
    const plain = await acceptedWith(needed);
    expect(await acceptedWith({ ...needed, [name]: value }), name).not.toEqual(plain);
  }
});
