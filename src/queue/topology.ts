// Topology: makes the streams and consumers of `streams.ts`, or checks that they are there, and says in words where the server
// differs. An old server drops settings that it does not know, so everything is read back.

import { type JetStreamManager, JetStreamApiError } from '@nats-io/jetstream';
import { setTimeout as sleep } from 'node:timers/promises';
import { fault, FaultError } from '../fault.js';
import { limits } from '../limits.js';
import { steadyNow } from '../process/clock.js';
import type { OnQueueEvent } from './events.js';
import { denialIn, deniedFault } from './link.js';
import type { ConsumerWanted, StreamWanted } from './streams.js';

/** nats-server's err_codes. */
const codes = { consumerMissing: 10_014, streamMissing: 10_059, storage: [10_023, 10_028, 10_047] } as const;

export interface TopologyOptions {
  readonly own: boolean;
  readonly storageBytesMax: number;
  readonly waitMs: number;
  readonly onEvent: OnQueueEvent;
}

/** Resolves to the drift; throws FaultError when NATS refuses this user, when a stream or consumer cannot be made or, for one that does not own them, never appears. */
export async function ensureTopology(
  jsm: JetStreamManager,
  streams: readonly StreamWanted[],
  consumers: readonly ConsumerWanted[],
  options: TopologyOptions,
): Promise<readonly string[]> {
  const giveUpAt = steadyNow() + options.waitMs;
  const drift: string[] = [];
  for (const wanted of streams) {
    const part: Part = {
      what: `stream ${wanted.name}`,
      wanted: { ...wanted },
      read: async () => ({ ...(await jsm.streams.info(wanted.name)).config }),
      create: () => jsm.streams.add(wanted),
      update: () => jsm.streams.update(wanted.name, wanted),
    };
    drift.push(...(await ensure(part, options, giveUpAt)));
  }
  for (const { stream, config } of consumers) {
    const part: Part = {
      what: `consumer ${config.durable_name} of ${stream}`,
      wanted: { ...config },
      read: async () => ({ ...(await jsm.consumers.info(stream, config.durable_name)).config }),
      create: () => jsm.consumers.add(stream, config),
      update: () => jsm.consumers.update(stream, config.durable_name, config),
    };
    drift.push(...(await ensure(part, options, giveUpAt)));
  }
  for (const words of drift) options.onEvent({ kind: 'drift', words });
  return drift;
}

interface Part {
  readonly what: string;
  readonly wanted: Readonly<Record<string, unknown>>;
  read(): Promise<Readonly<Record<string, unknown>>>;
  create(): Promise<unknown>;
  update(): Promise<unknown>;
}

async function ensure(part: Part, options: TopologyOptions, giveUpAt: number): Promise<readonly string[]> {
  const found = options.own ? await findOrCreate(part, options, giveUpAt) : await waitFor(part, options, giveUpAt);
  const before = differences(part, found);
  if (before.length === 0 || !options.own) return before;
  try {
    await patiently(() => part.update(), part.what, giveUpAt);
    options.onEvent({ kind: 'topology', what: part.what, action: 'updated' });
  } catch (error) {
    if (error instanceof FaultError) throw error;
    rethrowStorage(error, part.what, options);
    return before.map((line) => `${line} (${wordsOf(error)})`);
  }
  return differences(part, await patiently(() => part.read(), part.what, giveUpAt));
}

async function findOrCreate(part: Part, options: TopologyOptions, giveUpAt: number) {
  const found = await readOrMissing(part, giveUpAt);
  if (found) return found;
  try {
    await patiently(() => part.create(), part.what, giveUpAt);
    options.onEvent({ kind: 'topology', what: part.what, action: 'created' });
  } catch (error) {
    if (error instanceof FaultError) throw error;
    rethrowStorage(error, part.what, options);
    // Two owners start at once: the other one may have made it in another shape.
    if (!(await readOrMissing(part, giveUpAt))) {
      throw new FaultError(fault('failed_precondition', `${part.what} cannot be made: ${wordsOf(error)}`));
    }
  }
  return patiently(() => part.read(), part.what, giveUpAt);
}

async function waitFor(part: Part, options: TopologyOptions, giveUpAt: number) {
  for (let tries = 0; ; tries += 1) {
    const found = await readOrMissing(part, giveUpAt);
    if (found) return found;
    if (tries === 0)
      options.onEvent({ kind: 'waiting', words: `${part.what} is missing: its owner has not made it yet` });
    if (steadyNow() >= giveUpAt) {
      const words = `${part.what} is missing and this process does not make it: start a coordinator that serves this pool`;
      throw new FaultError(fault('failed_precondition', words));
    }
    await sleep(Math.min(500, 50 * 2 ** tries));
  }
}

async function readOrMissing(part: Part, giveUpAt: number) {
  return patiently(
    async () => {
      try {
        return await part.read();
      } catch (error) {
        const missing = isApiError(error, codes.streamMissing) || isApiError(error, codes.consumerMissing);
        if (missing) return undefined;
        throw error;
      }
    },
    part.what,
    giveUpAt,
  );
}

/** Repeats while the server is there but JetStream is not yet (start, election). API errors are answers and pass through. */
async function patiently<T>(act: () => Promise<T>, what: string, giveUpAt: number): Promise<T> {
  for (let tries = 0; ; tries += 1) {
    try {
      return await act();
    } catch (error) {
      const answer = error instanceof JetStreamApiError && error.status !== 503;
      const storage = codes.storage.some((code) => isApiError(error, code));
      if (answer || storage) throw error;
      const denied = denialIn(error);
      if (denied) throw deniedFault(denied);
      if (steadyNow() >= giveUpAt) {
        throw new FaultError(
          fault(
            'queue_unavailable',
            `${what}: JetStream does not answer (is it enabled? nats-server -js): ${wordsOf(error)}`,
          ),
        );
      }
      await sleep(Math.min(limits.queueCallMs, 100 * 2 ** tries));
    }
  }
}

/** What was asked and what the server has, in words; settings that were not asked for are the server's own business. */
export function differences(part: Pick<Part, 'what' | 'wanted'>, found: Readonly<Record<string, unknown>>): string[] {
  return Object.entries(part.wanted).flatMap(([key, asked]) => {
    const has = found[key];
    if (asked === undefined || stable(asked) === stable(has)) return [];
    return [`${part.what}: ${key} should be ${stable(asked)}, the server has ${stable(has)}`];
  });
}

function stable(value: unknown): string {
  if (Array.isArray(value)) return JSON.stringify([...(value as unknown[])].sort());
  if (typeof value === 'object' && value !== null) {
    return JSON.stringify(Object.fromEntries(Object.entries(value).sort(([a], [b]) => a.localeCompare(b))));
  }
  return value === undefined ? 'nothing' : JSON.stringify(value);
}

function rethrowStorage(error: unknown, what: string, { storageBytesMax }: TopologyOptions): void {
  if (!codes.storage.some((code) => isApiError(error, code))) return;
  const words =
    `nats-server has no room for ${what} (${wordsOf(error)}): the streams reserve ${storageBytesMax} bytes in all; ` +
    `lower storageBytesMax, or raise max_file_store (max_memory_store) in nats-server's jetstream block`;
  throw new FaultError(fault('failed_precondition', words));
}

function isApiError(error: unknown, code: number): boolean {
  return error instanceof JetStreamApiError && error.code === code;
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
