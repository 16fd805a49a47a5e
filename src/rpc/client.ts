// Client: the package's typed client of the service.
//
//   C1. A call that fails throws GrmError; its `kind` is a row of docs/errors.md. scoreMany() alone yields a request's own fault as a
//       value, so that one bad request does not end the others.
//   C2. UNAVAILABLE and RESOURCE_EXHAUSTED are tried again (retry.ts) until the deadline, as the same request: by its idempotency key,
//       or without one by the server's hash of content and options. Cluster orders are idempotent and retried alike.
//   C3. Every call ends: its deadline is `deadlineMs`, default 10 minutes.
//   C5. The judge of the first verdict is pinned (judge-pins.ts): another one's is the fault 'judge_changed', unless the change is allowed.
//   C4. An aborted signal cancels the call at the server; it throws kind 'cancelled'.

import { setTimeout as sleep } from 'node:timers/promises';
import type { ClientReadableStream } from '@grpc/grpc-js';
import { fault, faults, type Fault } from '../fault.js';
import type { ScoreOptions } from '../coordinator/coordinator.js';
import type { Judge } from '../grm/judge.js';
import type { JudgedSample, StoredVerdict, Verdict } from '../grm/verdict.js';
import { steadyNow, systemAt } from '../process/clock.js';
import { contentFromProto, sampleFromProto, verdictFromProto } from '../wire/convert.js';
import { judgeFromProto } from '../wire/judge.js';
import type { DeadShard, GetStatusResponse } from '../wire/gen/grm/v1/cluster.js';
import type { Sample as WireSample, Verdict as WireVerdict } from '../wire/gen/grm/v1/judgement.js';
import type { ScoreRequest as WireRequest, WatchScoreResponse } from '../wire/gen/grm/v1/reward.js';
import { callOnce, openChannel, type Channel, type KeepAlive } from './channel.js';
import { GrmError } from './grm-error.js';
import { JudgePins } from './judge-pins.js';
import { scoreMany, type ManyOptions, type ManyResult } from './many.js';
import { nextTry, retryDefaults, type RetryPolicy } from './retry.js';
import { servingOf, type Serving } from './open-limit.js';
import { deadlineMsOf, toMessage, type ScoreRequest } from './score-request.js';
import { faultOfError } from './status.js';
import type { ClientTls } from './tls.js';

// The public face of the package: what a caller needs to name.
export { GrmError } from './grm-error.js';
export type { DetailWanted, ScoreRequest } from './score-request.js';
export type { ManyOptions, ManyResult } from './many.js';
export type { KeepAlive } from './channel.js';
export type { RetryPolicy } from './retry.js';
export type { Trouble } from './trouble.js';
export type { ClientTls } from './tls.js';
export type { FaultKind, Violation } from '../fault.js';
export type { Class, Content, Message, Principle, VoteMethod } from '../grm/query.js';
export type { Judge, JudgeModel } from '../grm/judge.js';
export type { Sample } from '../grm/sample.js';
export type { JudgedSample, Reward, StoredVerdict, Verdict } from '../grm/verdict.js';

export interface ConnectOptions {
  /** `host:port`; a name with several addresses (`dns:///grm-coordinator:7600`) is used round-robin. */
  readonly address: string;
  /** Absent: plain text. */
  readonly tls?: ClientTls;
  /** Bearer token. */
  readonly token?: string;
  /** For requests that name none. */
  readonly tenant?: string;
  readonly retries?: Partial<RetryPolicy>;
  /** Default: a ping after 30 s of silence, answered within 10 s. */
  readonly keepAlive?: KeepAlive;
  /** Takes verdicts of whatever judges, also when that changes while this client lives. Default false: then it is an error, judge_changed. */
  readonly allowJudgeChange?: boolean;
}

export interface CallLimits {
  /** From now until the answer, all tries included. Default 600 000, and for a request at least its own time budget and 10 s. */
  readonly deadlineMs?: number;
  readonly signal?: AbortSignal;
}

export type Watched =
  { readonly kind: 'sample'; readonly sample: JudgedSample } | { readonly kind: 'verdict'; readonly verdict: Verdict };

export type DeadShardInfo = DeadShard;
export type ClusterStatus = GetStatusResponse;

const deadlineMsDefault = 600_000;
/** One look at the cluster's state. */
const servingAskMs = 5_000;
/** A cluster that fails with these tells of itself at the next look. */
const passing: ReadonlySet<string> = new Set(['UNAVAILABLE', 'DEADLINE_EXCEEDED', 'RESOURCE_EXHAUSTED', 'CANCELLED']);
/** Between the answer of a call and its status. */
const endMs = 1_000;
/** Timers and gRPC's servers in Node count in int32. */
const timerMsMax = 2 ** 31 - 1;

/** Shards in one call that lists or retries them: what the service takes. */
const deadPageMax = 1_000;

export interface RetriedShards {
  readonly requestIds: readonly string[];
  /** Shards that were taken back. */
  readonly shards: number;
  /** By id, with the reason; of very many the first ones. */
  readonly refused: ReadonlyMap<string, string>;
  readonly refusedCount: number;
}

export class GrmClient {
  readonly #channel: Channel;
  readonly #tenant: string;
  readonly #policy: RetryPolicy;
  readonly #pins: JudgePins;

  private constructor(channel: Channel, tenant: string, policy: RetryPolicy, pins: JudgePins) {
    this.#channel = channel;
    this.#pins = pins;
    this.#tenant = tenant;
    this.#policy = policy;
  }

  /** Opens no connection yet: the first call does. Throws when TLS files cannot be read. */
  static connect({ tenant, retries, allowJudgeChange = false, ...target }: ConnectOptions): GrmClient {
    const policy = { ...retryDefaults, ...retries };
    return new GrmClient(openChannel(target), tenant ?? '', policy, new JudgePins(allowJudgeChange));
  }

  /** Scores one request. */
  async score(request: ScoreRequest, limits: CallLimits = {}): Promise<Verdict> {
    const message = this.#message(request);
    const { reward } = this.#channel;
    try {
      const response = await this.#call(
        reward.score.bind(reward),
        this.#pins.stamped(message),
        waiting(request, limits),
      );
      return this.#pinned(message, verdictOf(response.verdict));
    } catch (error) {
      throw this.#worded(message, error);
    }
  }

  /** What would judge a request with these options now. */
  async judge(options: ScoreOptions = {}, limits: CallLimits = {}): Promise<Judge> {
    const { options: wire } = this.#message({ ...options, query: 'q', responses: ['r'] });
    const { reward } = this.#channel;
    const { judge } = await this.#call(reward.getJudge.bind(reward), { options: wire }, limits);
    if (!judge) throw new GrmError(fault('internal', 'the answer holds no judge'));
    return judgeFromProto(judge);
  }

  /** Scores many over one stream; results come as they are ready. Leaving the loop cancels what is open. See many.ts. */
  scoreMany<R extends ScoreRequest>(
    requests: Iterable<R> | AsyncIterable<R>,
    options: ManyOptions = {},
  ): AsyncGenerator<ManyResult<R>, void, undefined> {
    return scoreMany(
      {
        open: () => {
          this.#channel.checkOpen();
          return this.#channel.reward.scoreStream(this.#channel.metadata);
        },
        isConnected: () => this.#channel.isConnected(),
        policy: this.#policy,
        pins: this.#pins,
        tenant: this.#tenant,
        serving: () => this.#serving(),
      },
      requests,
      options,
    );
  }

  /** Scores one request and yields every sample once, as it arrives, and last the verdict. A broken stream is taken up again. */
  async *watch(request: ScoreRequest, limits: CallLimits = {}): AsyncGenerator<Watched, void, undefined> {
    const message = this.#message(request);
    const tries = this.#tries(waiting(request, limits));
    const seen = new Set<number>();
    for (;;) {
      try {
        for await (const { event } of this.#watchOnce(this.#pins.stamped(message), tries.deadlineAtMs, limits.signal)) {
          if (event?.$case === 'verdict')
            return yield { kind: 'verdict', verdict: this.#pinned(message, verdictFromProto(event.value)) };
          if (event?.$case !== 'sample' || seen.has(event.value.index)) continue;
          seen.add(event.value.index);
          yield { kind: 'sample', sample: watchedSample(event.value) };
        }
        throw new GrmError(fault('unreachable', 'the stream ended without a verdict'));
      } catch (error) {
        await tries.failed(this.#worded(message, error).fault);
      }
    }
  }

  /** The verdict of a finished request with what was judged, by request id or idempotency key; undefined when none is kept. */
  async verdict(
    requestIdOrKey: string,
    limits: CallLimits & { readonly tenant?: string } = {},
  ): Promise<StoredVerdict | undefined> {
    const { reward } = this.#channel;
    const request = { requestId: requestIdOrKey, tenant: limits.tenant ?? this.#tenant };
    try {
      const { verdict, content } = await this.#call(reward.getVerdict.bind(reward), request, limits);
      return { verdict: verdictOf(verdict), ...(content && { content: contentFromProto(content) }) };
    } catch (error) {
      if (error instanceof GrmError && error.kind === 'not_found') return undefined;
      throw error;
    }
  }

  /** Nodes, actors, queues and rates. */
  status(limits: CallLimits = {}): Promise<ClusterStatus> {
    const { cluster } = this.#channel;
    return this.#call(cluster.getStatus.bind(cluster), {}, limits);
  }

  /** What serves the samples; undefined where it cannot be known: a token for tenants' requests may not ask, and other servers may not tell. */
  async #serving(): Promise<Serving | undefined> {
    try {
      return servingOf(await this.status({ deadlineMs: servingAskMs }));
    } catch (error) {
      if (error instanceof GrmError && passing.has(faults[error.kind].grpc)) throw error;
      return undefined;
    }
  }

  /** Tells nodes (none named: every worker) to finish or hand back their work; resolves to those that took the order. */
  async drain(nodes: readonly string[] = [], limits: CallLimits = {}): Promise<readonly string[]> {
    const { cluster } = this.#channel;
    return (await this.#call(cluster.drain.bind(cluster), { nodes: [...nodes] }, limits)).nodes;
  }

  async resume(nodes: readonly string[] = [], limits: CallLimits = {}): Promise<readonly string[]> {
    const { cluster } = this.#channel;
    return (await this.#call(cluster.resume.bind(cluster), { nodes: [...nodes] }, limits)).nodes;
  }

  /** Samples that the node runs at once, 1..4096; resolves to what is now in force. */
  async setSlots(node: string, slots: number, limits: CallLimits = {}): Promise<number> {
    if (slots !== slots >>> 0)
      throw new GrmError(fault('invalid_request', `slots: came ${slots}, expected a whole number`));
    const { cluster } = this.#channel;
    return (await this.#call(cluster.setSlots.bind(cluster), { node, slots }, limits)).slots;
  }

  /** True when the request was running and is cancelled. */
  async cancel(requestId: string, limits: CallLimits = {}): Promise<boolean> {
    const { cluster } = this.#channel;
    return (await this.#call(cluster.cancelRequest.bind(cluster), { requestId }, limits)).cancelled;
  }

  /** Quarantined shards, newest first, page by page. */
  async listDead(limit = 100, limits: CallLimits = {}): Promise<readonly DeadShardInfo[]> {
    const { cluster } = this.#channel;
    const found: DeadShardInfo[] = [];
    for (let before = 0; found.length < limit;) {
      const want = Math.min(limit - found.length, deadPageMax) >>> 0;
      const page = await this.#call(cluster.listDead.bind(cluster), { limit: want, before }, limits);
      found.push(...page.shards);
      if (page.next === 0 || page.next === before) break;
      before = page.next;
    }
    return found;
  }

  /** Runs quarantined shards again (none named: all). */
  async retryDead(ids: readonly string[] = [], limits: CallLimits = {}): Promise<RetriedShards> {
    const { cluster } = this.#channel;
    const requestIds: string[] = [];
    const refused = new Map<string, string>();
    let [shards, refusedCount] = [0, 0];
    for (let at = 0; at === 0 || at < ids.length; at += deadPageMax) {
      const part = ids.slice(at, at + deadPageMax);
      const answer = await this.#call(cluster.retryDead.bind(cluster), { ids: [...part] }, limits);
      requestIds.push(...answer.requestIds);
      for (const [id, why] of Object.entries(answer.refused)) refused.set(id, why);
      shards += answer.shards;
      refusedCount += answer.refusedCount;
    }
    return { requestIds, shards, refused, refusedCount };
  }

  /** Open calls go on to their end; new ones fail. */
  close(): void {
    this.#channel.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #pinned(message: WireRequest, verdict: Verdict): Verdict {
    const refused = this.#pins.refuse(message, verdict);
    if (refused) throw new GrmError(refused);
    return verdict;
  }

  #worded(message: WireRequest, error: unknown): GrmError {
    return new GrmError(this.#pins.worded(message, error instanceof GrmError ? error.fault : faultOfError(error)));
  }

  #message(request: ScoreRequest) {
    const asking = toMessage(request, this.#tenant);
    if (asking.kind === 'fault') throw new GrmError(asking.fault);
    return asking.message;
  }

  async #call<Q, T>(call: Parameters<typeof callOnce<Q, T>>[0], request: Q, limits: CallLimits): Promise<T> {
    const tries = this.#tries(limits);
    for (;;) {
      try {
        this.#channel.checkOpen();
        return await callOnce(call, request, this.#channel.metadata, tries.deadlineAtMs, limits.signal);
      } catch (error) {
        await tries.failed(faultOfError(error));
      }
    }
  }

  /** Counts the tries of one call. `failed` waits for the next, or throws when there is none (C2, C3). */
  #tries({ deadlineMs = deadlineMsDefault, signal }: CallLimits) {
    const deadlineAtMs = steadyNow() + Math.min(deadlineMs, timerMsMax);
    let count = 0;
    return {
      deadlineAtMs,
      failed: async (it: Fault): Promise<void> => {
        if (signal?.aborted) throw new GrmError(fault('cancelled', 'the caller cancelled'));
        const next = nextTry(it, ++count, deadlineAtMs - steadyNow(), this.#policy, Math.random);
        if (next.kind === 'never') throw new GrmError(it);
        await sleep(next.delayMs, undefined, signal && { signal }).catch(() => {
          throw new GrmError(fault('cancelled', 'the caller cancelled'));
        });
      },
    };
  }

  async *#watchOnce(
    request: WireRequest,
    deadlineAtMs: number,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<WatchScoreResponse, void, undefined> {
    this.#channel.checkOpen();
    const call = this.#channel.reward.watchScore({ request }, this.#channel.metadata, {
      deadline: systemAt(deadlineAtMs),
    });
    const cancel = () => call.cancel();
    signal?.addEventListener('abort', cancel, { once: true });
    if (signal?.aborted) cancel();
    let isAnswered = false;
    try {
      for await (const response of call.iterator({ destroyOnReturn: false }) as AsyncIterable<WatchScoreResponse>) {
        isAnswered = response.event?.$case === 'verdict';
        yield response;
      }
    } finally {
      signal?.removeEventListener('abort', cancel);
      // After a break the cancelled call still reports its end.
      call.on('error', () => undefined);
      if (isAnswered) letEnd(call);
      else call.cancel();
    }
  }
}

function waiting(request: ScoreRequest, limits: CallLimits): CallLimits {
  return limits.deadlineMs === undefined ? { ...limits, deadlineMs: deadlineMsOf(request) } : limits;
}

/** A call that has its answer ends by itself: to reset it would count against its connection, and harm all calls on it (sessions.ts, SE2). */
function letEnd(call: ClientReadableStream<unknown>): void {
  const timer = setTimeout(() => call.cancel(), endMs);
  call.once('close', () => clearTimeout(timer));
  call.once('end', () => clearTimeout(timer));
  call.resume();
}

function verdictOf(verdict: WireVerdict | undefined): Verdict {
  if (!verdict) throw new GrmError(fault('internal', 'the answer holds no verdict'));
  return verdictFromProto(verdict);
}

/** A sample before the vote: a valid one counts so far. */
function watchedSample(wire: WireSample): JudgedSample {
  const sample = sampleFromProto(wire);
  const kept = sample.kind === 'scored' ? 'kept' : 'invalid';
  return { sample, kept, ...(wire.metaReward !== undefined && { metaReward: wire.metaReward }) };
}
