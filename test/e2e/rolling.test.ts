// A rolling restart of everything: nats-servers, coordinators, workers and meta workers, one after the other, each by SIGTERM as an
// orchestrator does it, under load. `make roll ROUNDS=n` goes round n times.

import { expect, test } from 'vitest';
import { startFakeEngine } from '../../services/fake-engine/server.js';
import { GrmClient, type ScoreRequest, type Verdict } from '../../src/rpc/client.js';
import { freePort, quiet, serviceEnvironment, serving, startService, type Role } from '../support/cluster.js';
import { startNatsCluster } from '../support/nats-cluster.js';
import { until } from '../support/processes.js';

const k = 8;
const rounds = roundsOf(process.env.GRM_ROLL_ROUNDS);
const minute = 60_000;
/** Requests that must be answered after each step before the next one: so each step had work to disturb. */
const verdictsBetween = 10;

function roundsOf(text = ''): number {
  if (text === '') return 1;
  if (!/^[1-9]\d{0,3}$/.test(text)) throw new RangeError(`ROUNDS: came ${text}, expected a whole number from 1`);
  return Number(text);
}

/** The vote is named: left to a coordinator, it depends on whether that one has seen a meta worker yet. */
function request(name: string): ScoreRequest {
  return {
    query: `Which answer to ${name} is better?`,
    responses: [`An answer of quality=8 to ${name}.`, `Another, quality=3, to ${name}.`],
    idempotencyKey: name,
    k,
    vote: 'meta_topk',
  };
}

function expectWhole(verdict: Verdict, name: string): void {
  expect(verdict, name).toMatchObject({ kind: 'valid', best: 0, kValid: k, vote: 'meta_topk', degraded: [] });
}

test(
  'P6: every process, three nats-servers among them, is stopped and started again, one by one, under load: no request fails, none is degraded',
  async () => {
    await using nats = await startNatsCluster();
    const engine = await startFakeEngine({ port: 0, instant: true, accuracy: 1 });
    engine.setFaults([{ kind: 'slow', probability: 1, delayMs: 200, on: 'generate' }]);
    const base = {
      ...serviceEnvironment(
        nats.servers.map(({ url }) => url),
        engine.url,
      ),
      GRM_NATS__REPLICAS: String(nats.servers.length),
    };
    await using fleet = new Fleet(base);
    const ports = [await freePort(), await freePort()] as const;
    // The first coordinator makes the streams that the others wait for.
    await fleet.start('coordinator', { GRM_GRPC__LISTEN: `127.0.0.1:${ports[0]}` });
    await fleet.start('coordinator', { GRM_GRPC__LISTEN: `127.0.0.1:${ports[1]}` });
    for (const role of ['grm-worker', 'grm-worker', 'meta-worker', 'meta-worker'] as const) await fleet.start(role);
    // Both doors behind one name, as DNS would give them.
    using client = GrmClient.connect({ address: `ipv4:127.0.0.1:${ports[0]},127.0.0.1:${ports[1]}` });
    await serving(client, 2, 2);
    await nats.whole();

    const stop = new AbortController();
    let verdicts = 0;
    const many = (async () => {
      const endless = (function* () {
        for (let number = 0; !stop.signal.aborted; number++) yield request(`stream-${number}`);
      })();
      for await (const result of client.scoreMany(endless, { concurrency: 12, deadlineMs: 5 * minute })) {
        if (result.kind === 'fault') throw new Error(`request ${result.index}: ${JSON.stringify(result.fault)}`);
        expectWhole(result.verdict, `request ${result.index}`);
        verdicts++;
      }
    })();
    const single = (async () => {
      for (let number = 0; !stop.signal.aborted; number++) {
        expectWhole(await client.score(request(`single-${number}`), { deadlineMs: 5 * minute }), `single ${number}`);
        verdicts++;
      }
    })();
    const load = Promise.all([many, single]).then(() => undefined);

    const roll = async (): Promise<void> => {
      const goesOn = async (): Promise<void> => {
        const before = verdicts;
        await until(() => verdicts >= before + verdictsBetween, 'the load goes on', 2 * minute);
      };
      for (let round = 0; round < rounds; round++) {
        await goesOn();
        for (const server of nats.servers) {
          await server.kill('SIGTERM');
          await goesOn();
          await server.restart();
          await nats.whole();
        }
        for (const member of fleet.members) {
          await fleet.replace(member);
          await serving(client, 2, 2);
          await goesOn();
        }
      }
    };
    try {
      await Promise.race([roll(), load]);
    } finally {
      stop.abort();
    }
    await load;
    expect(verdicts).toBeGreaterThan(rounds * (nats.servers.length + fleet.members.length) * verdictsBetween);
    await quiet(client);
    expect((await client.status()).dead).toBe(0);
    await engine.close();
  },
  (2 + 8 * rounds) * minute,
);

interface Member {
  readonly role: Role;
  readonly env: Readonly<Record<string, string>>;
  process: Awaited<ReturnType<typeof startService>>;
}

class Fleet implements AsyncDisposable {
  readonly members: Member[] = [];

  constructor(private readonly base: Readonly<Record<string, string>>) {}

  async start(role: Role, env: Readonly<Record<string, string>> = {}): Promise<void> {
    this.members.push({ role, env, process: await startService(role, { ...this.base, ...env }) });
  }

  /** Drains it, waits until it is gone, and starts another in its place. */
  async replace(member: Member): Promise<void> {
    const { role, env, process } = member;
    process.kill('SIGTERM');
    expect(await process.ended, `${role}: ${process.log().slice(-2_000)}`).toBe(0);
    member.process = await startService(role, { ...this.base, ...env });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { process } of this.members) process.kill('SIGKILL');
    await Promise.all(this.members.map(({ process }) => process.ended));
  }
}
