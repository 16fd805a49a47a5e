// Scores on a running cluster with the package's client: one request awaited, one watched, many over one stream.
//
//   grm up                                         # in another terminal
//   make build && node dist/examples/score.js      # or: node dist/examples/score.js HOST:PORT

import { GrmClient, GrmError, type Verdict } from 'grm-cluster';

const [address = '127.0.0.1:50051'] = process.argv.slice(2);
using client = GrmClient.connect({ address });

/** One line; an invalid verdict has a reason and no number. */
function line(verdict: Verdict): string {
  if (verdict.kind === 'invalid') return `no reward: ${verdict.reason}`;
  return `rewards ${verdict.rewards.map(({ value }) => value.toFixed(2)).join(', ')}; best is response ${verdict.best}`;
}

try {
  // The key names the request: a retry with it joins the running request or gets the stored verdict.
  const sum = { query: 'What is 17 + 26?', responses: ['33', '43'], k: 8, idempotencyKey: 'example-sum' };
  console.log('one ', line(await client.score(sum, { deadlineMs: 60_000 })));

  for await (const event of client.watch({ query: 'Name a prime.', responses: ['7', '8', '9'], k: 4 })) {
    if (event.kind === 'verdict') console.log('watched ', line(event.verdict));
    else console.log(`watched  sample ${event.sample.sample.index} is here`);
  }

  const many = Array.from({ length: 20 }, (_, at) => ({ query: `What is ${at} + 1?`, responses: ['2', `${at + 1}`] }));
  for await (const result of client.scoreMany(many, { concurrency: 8 })) {
    console.log(`many ${result.index} `, result.kind === 'verdict' ? line(result.verdict) : result.fault.message);
  }
} catch (error) {
  if (!(error instanceof GrmError)) throw error;
  console.error(`${error.kind}: ${error.message}`);
  process.exitCode = 1;
}
