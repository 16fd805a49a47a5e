// The cluster as one of bench/peers: nats-server, a coordinator, workers, and a client that keeps so many requests open.
//
//   node dist/bench/peers/cluster.js ENGINE_URL ROWS OUT IN_FLIGHT WORKERS
//
// Speaks run.py's protocol on its pipes: a line {"ready", "workers": [pid]}, waits for "go", a line {"done"}, waits for "end". Each answered
// row is a line of OUT.

import { appendFileSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { startCluster } from '../cluster.js';
import type { Row } from './rows.js';

const [engineUrl = '', rowsPath = '', outPath = '', inFlight = '16', workers = '2'] = process.argv.slice(2);
/** Of the one engine, shared out. */
const engineSlots = 64;

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);
const rows = readFileSync(rowsPath, 'utf8')
  .trimEnd()
  .split('\n')
  .map((line) => JSON.parse(line) as Row);

await using cluster = await startCluster({
  workers: Number(workers),
  engines: () => [{ kind: 'openai', base_url: engineUrl, slots: Math.ceil(engineSlots / Number(workers)) }],
});
await answerAll('warm');
say({ ready: true, workers: cluster.pids.workers });
await lines.next();
await answerAll('row');
say({ done: true });
await lines.next();

/** The rows whose ids begin with `kind`; only those that count are written. */
async function answerAll(kind: 'warm' | 'row'): Promise<void> {
  const wanted = rows.filter(({ id }) => id.startsWith(kind));
  let next = 0;
  const one = async (): Promise<void> => {
    for (let row = wanted[next++]; row !== undefined; row = wanted[next++]) {
      const { id, query, responses, k } = row;
      const start = Date.now() / 1e3;
      let answer: object;
      try {
        const verdict = await cluster.client.score({
          query,
          responses,
          k,
          vote: 'sum',
          temperature: 0.5,
          detail: 'rewards',
        });
        answer = { ok: verdict.kind === 'valid', samples: verdict.kValid };
      } catch (error) {
        answer = { ok: false, samples: 0, error: String(error) };
      }
      const end = Date.now() / 1e3;
      if (kind === 'row') appendFileSync(outPath, `${JSON.stringify({ id, start, end, ...answer })}\n`);
    }
  };
  await Promise.all(Array.from({ length: Number(inFlight) }, one));
}
