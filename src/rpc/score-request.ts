// ScoreRequest: a request as a caller of the TypeScript client writes it, and its message.

import { intake } from '../coordinator/intake.js';
import type { ScoreOptions } from '../coordinator/coordinator.js';
import { classes, stopRules, voteMethods, type Class, type Message, type Principle } from '../grm/query.js';
import { fault, type Fault } from '../fault.js';
import { classTable, contentToProto, stopRuleTable, voteMethodTable } from '../wire/convert.js';
import { Class as WireClass, StopRule, VoteMethod } from '../wire/gen/grm/v1/judgement.js';
import { Detail, type ScoreRequest as WireRequest } from '../wire/gen/grm/v1/reward.js';
import { invalid } from './request.js';

/** How much of a verdict is wanted: everything, no texts of samples, or no samples. */
export type DetailWanted = 'full' | 'scores' | 'rewards';

export interface ScoreRequest extends ScoreOptions {
  /** One user message, or the conversation; its last turn is the user's. */
  readonly query: string | readonly Message[];
  /** 1..16 answers to judge. */
  readonly responses: readonly string[];
  /** An answer known to be right. */
  readonly reference?: string;
  /** Criteria that every sample must use. */
  readonly principles?: readonly (string | Principle)[];
  /** Index of the response that the prompt names as the best: for drawing training data. */
  readonly hintedBest?: number;
  /** Names the request: the same key never pays for a sample twice. Default: the server's hash of content and options, so equal requests are one; `seed` makes them differ. */
  readonly idempotencyKey?: string;
  /** Default: the client's. */
  readonly tenant?: string;
  readonly class?: Class;
  /** Draws anew although a verdict is stored: a word that is this request's own, the same for its retries. */
  readonly fresh?: string;
  /** Id of the only judge that may answer. Default: the one that the client has pinned. */
  readonly expectedJudge?: string;
  /** Takes what another judge said. Default: the client's. */
  readonly allowJudgeChange?: boolean;
  /** Default 'full'. A verdict that fits no message comes without its samples' texts. */
  readonly detail?: DetailWanted;
}

const deadlineMsDefault = 600_000;
/** The service answers at the end of a time budget with what it has: so much later than that, nothing will come. */
const answerMarginMs = 10_000;

/** How long an answer to a request of this time budget is waited for. */
export function answerMs(timeBudgetMs: number): number {
  return timeBudgetMs + answerMarginMs;
}

/** For a caller that gives no deadline: ten minutes, and never less than the request's own time. */
export function deadlineMsOf({ timeBudgetMs }: Pick<ScoreRequest, 'timeBudgetMs'>): number {
  return Math.max(deadlineMsDefault, answerMs(timeBudgetMs ?? 0));
}

export type Asking =
  { readonly kind: 'ok'; readonly message: WireRequest } | { readonly kind: 'fault'; readonly fault: Fault };

const details: Readonly<Record<DetailWanted, Detail>> = {
  full: Detail.FULL,
  scores: Detail.SCORES,
  rewards: Detail.REWARDS,
};

/** The request's message. The server judges it; only what no message can hold is refused here, with all its violations. */
export function toMessage(request: ScoreRequest, tenant: string): Asking {
  const { query, responses, reference, principles = [], hintedBest, idempotencyKey = '' } = request;
  const messages: readonly Message[] = typeof query === 'string' ? [{ role: 'user', content: query }] : query;
  const content = {
    messages,
    responses,
    ...(reference !== undefined && { reference }),
    principles: principles.map((each) => (typeof each === 'string' ? { text: each } : each)),
    ...(hintedBest !== undefined && { hintedBest }),
  };
  if (!encodable(request, content.principles)) {
    const result = intake({
      idempotencyKey,
      tenant: request.tenant ?? tenant,
      class: request.class,
      content: { ...content, query },
      options: request,
    });
    const violations = result.kind === 'violations' ? result.violations : [];
    return {
      kind: 'fault',
      fault: violations.length > 0 ? invalid(violations) : fault('invalid_request', 'a value fits no message'),
    };
  }
  const { k, kMeta, vote, temperature, topP, maxTokens, quorum, timeBudgetMs, seed, template, meta } = request;
  const { stop, stopError } = request;
  return {
    kind: 'ok',
    message: {
      idempotencyKey,
      content: contentToProto(content),
      options: {
        k,
        kMeta,
        vote: vote === undefined ? VoteMethod.UNSPECIFIED : voteMethodTable.to(vote),
        temperature,
        topP,
        maxTokens,
        quorum,
        timeBudgetMs,
        seed,
        template,
        meta,
        stop: stop === undefined ? StopRule.UNSPECIFIED : stopRuleTable.to(stop),
        stopError,
      },
      tenant: request.tenant ?? tenant,
      class: request.class === undefined ? WireClass.UNSPECIFIED : classTable.to(request.class),
      detail: details[request.detail ?? 'full'],
      fresh: request.fresh ?? '',
      expectedJudge: request.expectedJudge ?? '',
      allowJudgeChange: request.allowJudgeChange ?? false,
    },
  };
}

/** What protobuf can carry at all. Callers in plain JavaScript get here with anything. */
function encodable(request: ScoreRequest, principles: readonly Principle[]): boolean {
  const { k, kMeta, maxTokens, quorum, timeBudgetMs, seed, temperature, topP, vote, detail, stop, stopError } = request;
  const uint32s = [
    request.hintedBest,
    k,
    kMeta,
    maxTokens,
    quorum,
    timeBudgetMs,
    seed,
    ...principles.map((each) => each.weightPercent),
  ];
  const words = [request.fresh, request.expectedJudge].flatMap((each) => (each === undefined ? [] : [each]));
  const texts = [request.responses, principles.map((each) => each.text), words].flat();
  const messages = typeof request.query === 'string' ? [] : request.query;
  return (
    uint32s.every((value) => value === undefined || value === value >>> 0) &&
    [temperature, topP, stopError].every((value) => value === undefined || typeof value === 'number') &&
    texts.every((text) => typeof text === 'string') &&
    messages.every((each) => typeof each.role === 'string' && typeof each.content === 'string') &&
    (vote === undefined || voteMethods.includes(vote)) &&
    (stop === undefined || stopRules.includes(stop)) &&
    (request.class === undefined || classes.includes(request.class)) &&
    (detail === undefined || Object.hasOwn(details, detail))
  );
}
