// Plan: from options to what a request really runs with, and from that to shards. Pure: the same record gives the same samples,
// seeds and permutations wherever and whenever it is planned (promise P3).

import type { Plan, Stop, StopRule, VoteMethod } from '../grm/query.js';
import { permutations } from '../grm/permute.js';
import type { Sample } from '../grm/sample.js';
import { sampleSeed } from '../grm/seed.js';
import { stopErrorDefault } from '../grm/stop.js';
import { limits } from '../limits.js';
import { lanesOf } from './lane.js';
import type { MetaTask, RequestRecord, SampleSpec, Shard } from './shard.js';

/** The server's defaults; `vote: 'auto'` means meta_topk where a meta RM serves, else sum. */
export interface PlanDefaults {
  readonly k: number;
  readonly temperature: number;
  readonly topP: number;
  readonly maxTokens: number;
  readonly vote: VoteMethod | 'auto';
  /** Quorum = ceil(k * quorumRatio), at least 1. */
  readonly quorumRatio: number;
  readonly timeBudgetMs: number;
  /** Absent: none. */
  readonly stop?: StopRule;
  /** `error` of the rule `confident`. */
  readonly stopError?: number;
}

/** What the caller asked for; absent fields take the defaults. */
export interface PlanOptions {
  readonly k?: number;
  readonly kMeta?: number;
  readonly vote?: VoteMethod;
  readonly temperature?: number;
  readonly topP?: number;
  readonly maxTokens?: number;
  readonly quorum?: number;
  readonly timeBudgetMs?: number;
  readonly seed?: number;
  readonly meta?: boolean;
  readonly stop?: StopRule;
  readonly stopError?: number;
}

export function votesByMeta(vote: VoteMethod): boolean {
  return vote === 'meta_topk' || vote === 'meta_weighted';
}

/** Applies the defaults. One sample has nothing to be ranked against, so k = 1 is greedy and asks no meta RM unless told to. */
export function resolvePlan(
  options: PlanOptions,
  defaults: PlanDefaults,
  server: { readonly metaServing: boolean; readonly templateHash: string },
): Plan {
  const k = options.k ?? defaults.k;
  const auto =
    options.meta === true || (options.meta === undefined && server.metaServing && k > 1) ? 'meta_topk' : 'sum';
  const preferred = defaults.vote === 'auto' ? auto : defaults.vote;
  const stop = resolveStop(options, defaults);
  const vote = options.vote ?? (options.meta === false && votesByMeta(preferred) ? 'sum' : preferred);
  return {
    k,
    ...(options.kMeta !== undefined && { kMeta: Math.min(k, options.kMeta) }),
    vote,
    temperature: options.temperature ?? (k === 1 ? 0 : defaults.temperature),
    topP: options.topP ?? defaults.topP,
    maxTokens: options.maxTokens ?? defaults.maxTokens,
    ...resolvePatience(options, defaults),
    templateHash: server.templateHash,
    meta: options.meta ?? votesByMeta(vote),
    seed: options.seed ?? 0,
    ...(stop !== undefined && { stop }),
  };
}

/** How long one caller waits, and for how many valid samples when that time ends. Callers of one request may differ in it. */
export interface Patience {
  readonly timeBudgetMs: number;
  readonly quorum: number;
}

export function resolvePatience(
  options: Pick<PlanOptions, 'k' | 'quorum' | 'timeBudgetMs'>,
  defaults: Pick<PlanDefaults, 'k' | 'quorumRatio' | 'timeBudgetMs'>,
): Patience {
  const k = options.k ?? defaults.k;
  return {
    quorum: Math.min(k, options.quorum ?? Math.max(1, Math.ceil(k * defaults.quorumRatio))),
    timeBudgetMs: options.timeBudgetMs ?? defaults.timeBudgetMs,
  };
}

function resolveStop(options: PlanOptions, defaults: PlanDefaults): Stop | undefined {
  const rule = options.stop ?? defaults.stop ?? 'none';
  if (rule === 'none') return undefined;
  if (rule === 'outcome_fixed') return { rule };
  return { rule, error: options.stopError ?? defaults.stopError ?? stopErrorDefault };
}

/** What the plan wants to know of the pool's fleet. */
export interface Fleet {
  /** Engines that serve now; 0 when unknown. */
  readonly engines: number;
  /** Samples that they take at once. */
  readonly slots: number;
  /** Share of the slots in use, 0..1 or more. */
  readonly busyRatio: number;
}

/**
 * Samples per shard: few shards share more of a prompt, many finish sooner. An idle fleet gets one shard per free engine, a busy one whole shards,
 * none with more samples than an engine has slots: it would draw them all at once.
 * Where so many shards as there are slots could not all be out at once (limits.ackPendingMax), an idle fleet's are larger: else it would stay
 * idle, and its shards small, for ever.
 */
export function shardSamples(
  k: number,
  { engines, slots, busyRatio }: Fleet,
  samplesMax: number = limits.shardSamplesMax,
): number {
  const ofEngine = engines > 0 && slots > 0 ? Math.ceil(slots / engines) : samplesMax;
  const whole = Math.min(k, samplesMax, ofEngine);
  if (engines <= 1 || busyRatio >= 0.5) return whole;
  const filling = Math.ceil(slots / limits.ackPendingMax);
  return Math.max(1, Math.min(whole, Math.max(filling, Math.ceil(k / engines))));
}

/** What a shard says besides its samples. */
export interface ShardContext {
  /** Name of the run that asks. */
  readonly run: string;
  readonly deadlineAtMs: number;
  readonly nowMs: number;
  readonly samplesMax: number;
  /** Whether the content travels in the shard (it is small). */
  readonly inline: boolean;
  /** Number of the first shard, when earlier ones of this run went out already. Default 0. */
  readonly firstShard?: number;
}

/** The nonce stands for content and options: what is drawn for other content under the same id has other seeds. */
function seedOf(record: RequestRecord, index: number): number {
  return sampleSeed(`${record.requestId}.${record.nonce}`, record.plan.seed, index);
}

/**
 * Shards for the samples that are not there yet. A shard is of one lane. Samples that share an order, and so the whole prompt, stand together, and
 * stay in one shard as far as they fit.
 */
export function planShards(record: RequestRecord, missing: readonly number[], context: ShardContext): readonly Shard[] {
  const { plan, requestId } = record;
  const orders = permutations(record.content.responses.length, plan.k, plan.seed);
  const shards: Shard[] = [];
  for (const [lane, indexes] of lanesOf(record, missing)) {
    const planned = indexes.map((index): SampleSpec => {
      const permutation = orders[index];
      if (!permutation) throw new RangeError(`sample ${index} is outside the plan of ${plan.k}`);
      return { index, seed: seedOf(record, index), permutation };
    });
    const samples = byOrder(planned).flat();
    for (let from = 0; from < samples.length; from += context.samplesMax) {
      shards.push({
        requestId,
        shard: (context.firstShard ?? 0) + shards.length,
        samples: samples.slice(from, from + context.samplesMax),
        temperature: plan.temperature,
        topP: plan.topP,
        maxTokens: plan.maxTokens,
        deadlineAtMs: context.deadlineAtMs,
        templateHash: plan.templateHash,
        nonce: record.nonce,
        ...(context.inline && { content: record.content }),
        queuedAtMs: context.nowMs,
        class: record.class,
        run: context.run,
        lane,
      });
    }
  }
  return shards;
}

/** Samples in groups that share an order. */
export function byOrder(samples: readonly SampleSpec[]): readonly (readonly SampleSpec[])[] {
  const groups: SampleSpec[][] = [];
  for (const sample of samples) {
    const group = groups.find(([first]) => isSameOrder(first!.permutation, sample.permutation));
    if (group) group.push(sample);
    else groups.push([sample]);
  }
  return groups;
}

function isSameOrder(one: readonly number[], other: readonly number[]): boolean {
  return one === other || (one.length === other.length && one.every((response, place) => response === other[place]));
}

/** Tasks that rank these samples, one per lane. */
export function planMetaTasks(
  record: RequestRecord,
  samples: readonly Sample[],
  context: { readonly inline: boolean; readonly run: string; readonly deadlineAtMs: number; readonly nowMs: number },
): readonly MetaTask[] {
  const { inline, run, deadlineAtMs, nowMs } = context;
  const byIndex = new Map(samples.map((sample) => [sample.index, sample]));
  return [...lanesOf(record, byIndex.keys())].map(([lane, indexes]) => ({
    requestId: record.requestId,
    lane,
    items: indexes.map((index) => {
      const sample = byIndex.get(index)!;
      return { index, ...(sample.text.length <= limits.inlineContentCharsMax && { sample }) };
    }),
    ...(inline && { content: record.content }),
    deadlineAtMs,
    nonce: record.nonce,
    queuedAtMs: nowMs,
    class: record.class,
    run,
  }));
}
