// Callers: requests come, wait for their verdicts and are counted. Each is another one: content, qualities and id come from its number.

import { uint32Stream } from '../../src/grm/seed.js';
import type { ScoreInput } from '../../src/coordinator/coordinator.js';
import type { Verdict } from '../../src/grm/verdict.js';
import type { Cell, CellCoordinator } from './cell.js';
import { chanceOf, exponential } from './chance.js';
import { promptTokensOf } from './engine.js';
import type { Loop } from './loop.js';
import { slotsOf, type FlowSpec, type Scenario } from './scenario.js';

export interface Finished {
  readonly flow: number;
  /** From the caller's call to its verdict. */
  readonly latencyMs: number;
  readonly verdict: Verdict;
}

export interface Callers {
  /** Requests sent, and those that have ended. */
  readonly sent: () => number;
  readonly ended: () => number;
  /** Requests that were refused and sent again. */
  readonly refused: () => number;
  readonly total: () => number;
  /** No more are sent: those that were are all. */
  stop(): void;
}

export function startCallers(
  loop: Loop,
  cells: readonly Cell[],
  scenario: Scenario,
  onFinished: (finished: Finished) => void,
): Callers {
  const { flows, k, samples, arrivals, seed, inputs } = scenario;
  let total = Math.ceil(samples / k);
  const doors = cells.flatMap(({ coordinators }) => coordinators);
  let sent = 0;
  let ended = 0;
  let refused = 0;

  const call = async (door: CellCoordinator, flow: number): Promise<void> => {
    const number = sent++;
    const startedAtMs = loop.timeMs;
    const input = inputOf(number, flows[flow]!, scenario);
    const wait = (ms: number): Promise<void> => new Promise((resolve) => loop.after(ms, resolve));
    await wait(door.cpu.book(inputs.coordinator.request / 1e3));
    for (;;) {
      const outcome = await door.service.score(input, {
        deadlineAtMs: Infinity,
        signal: new AbortController().signal,
      });
      if (outcome.kind === 'verdict') {
        ended++;
        onFinished({ flow, latencyMs: loop.timeMs - startedAtMs, verdict: outcome.verdict });
        return;
      }
      const { retryAfterMs, kind, message } = outcome.fault;
      if (retryAfterMs === undefined) throw new Error(`scale: request ${number} failed: ${kind}: ${message}`);
      refused++;
      await wait(retryAfterMs);
    }
  };
  // A bug must end the run, not one caller.
  const begin = (act: Promise<void>): void => {
    act.catch((error: unknown) =>
      loop.after(0, () => {
        throw error instanceof Error ? error : new Error(String(error));
      }),
    );
  };

  if (arrivals.kind === 'backlog') {
    const openPerFlow = Math.max(
      1,
      Math.ceil((arrivals.perSlot * slotsOf(scenario)) / k / doors.length / flows.length),
    );
    const again = async (door: CellCoordinator, flow: number): Promise<void> => {
      while (sent < total) await call(door, flow);
    };
    for (let place = 0; place < openPerFlow; place++) {
      for (const door of doors) for (let flow = 0; flow < flows.length; flow++) begin(again(door, flow));
    }
  } else {
    const random = chanceOf(seed, 'arrivals');
    const meanMs = 1e3 / arrivals.requestsPerSecond;
    const next = (): void => {
      if (sent >= total) return;
      const number = sent;
      begin(call(doors[number % doors.length]!, Math.floor(random() * flows.length)));
      loop.after(exponential(random, meanMs), next);
    };
    loop.after(exponential(random, meanMs), next);
  }
  return {
    sent: () => sent,
    ended: () => ended,
    refused: () => refused,
    total: () => total,
    stop: () => void (total = sent),
  };
}

function inputOf(number: number, { tenant, class: cls }: FlowSpec, scenario: Scenario): ScoreInput {
  const { responses, seed, inputs, stop, meta, k } = scenario;
  const draw = uint32Stream((seed * 1_000_003 + number) >>> 0);
  // Distinct qualities, as many as there are responses (at most ten).
  const qualities = Array.from({ length: 10 }, (_, at) => ({ quality: at + 1, key: draw() }))
    .sort((a, b) => a.key - b.key)
    .slice(0, responses);
  const key = `${seed}-${number}`;
  return {
    idempotencyKey: key,
    tenant,
    class: cls,
    content: {
      messages: [{ role: 'user', content: key }],
      responses: qualities.map(({ quality }, at) => `${at} quality=${quality}`),
      principles: [],
    },
    contentBytes: promptTokensOf(key, seed, inputs.sizes) * inputs.sizes.bytesPerToken,
    options: { k, stop, meta },
  };
}
