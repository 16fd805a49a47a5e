// Identity: which request this is. The same key, or without a key the same content and options, is the same request: it joins the
// running one or gets the stored verdict, and no sample is paid for twice (promise P2).
//
//   ID1. Without a key, what judges is part of it, and so are the server's defaults for what the request leaves open: what another judge said,
//        or the same one asked in another way, never comes back for it. With a key service.ts compares the judges, and tells both.
//   ID2. With a key the nonce, and with it every seed, depends on what the caller sent and not on what judges: the same request at another
//        cluster, or under a judge of another name, gets the same prompts (promise P3). Lanes tell judges apart (work/lane.ts).

import { hash } from 'node:crypto';
import type { Content } from '../grm/query.js';
import type { PlanDefaults } from '../work/plan.js';
import type { ScoreInput } from './coordinator.js';
import { nonceOf } from './nonce.js';

export interface Identity {
  /** "r" and 32 hexadecimal digits: a safe subject token that tells nothing of key, tenant or content. */
  readonly requestId: string;
  /** SHA-256 of content and options as they were sent: a key that comes back with another digest was reused. */
  readonly digest: string;
  /** What marks texts in prompts (nonce.ts). It depends on the texts themselves and occurs in none of them (promise P8). */
  readonly nonce: string;
}

/** What a request is asked under. */
export interface Under {
  /** Id of what judges. */
  readonly judge: string;
  /** For what the options leave open. */
  readonly defaults: PlanDefaults;
}

export function identify(input: ScoreInput, { judge, defaults }: Under): Identity {
  const digest = sha256(JSON.stringify([canonicalContent(input.content), canonicalOptions(input.options)]));
  // ID1.
  const asked = sha256(
    JSON.stringify([digest, judge, canonicalOptions({ ...defaultOptions(defaults), ...input.options })]),
  );
  const { idempotencyKey: key = '', tenant, fresh = '' } = input;
  const requestId =
    key === ''
      ? requestIdFrom('content', tenant, withFresh(asked, fresh))
      : requestIdOfKey(withFresh(key, fresh), tenant);
  return { requestId, digest, nonce: nonceOf(`${requestId}\0${digest}`, input.content) };
}

function withFresh(name: string, fresh: string): string {
  return fresh === '' ? name : `${name}\0${fresh}`;
}

/** Quorum and time budget say how long to wait; a vote that is chosen by whether a meta RM serves stands in the judge. */
function defaultOptions({
  k,
  temperature,
  topP,
  maxTokens,
  vote,
  stop,
  stopError,
}: PlanDefaults): ScoreInput['options'] {
  return {
    k,
    temperature,
    topP,
    maxTokens,
    ...(vote !== 'auto' && { vote }),
    ...(stop !== undefined && { stop }),
    ...(stopError !== undefined && { stopError }),
  };
}

/** The id of the request that a tenant's idempotency key names. */
export function requestIdOfKey(key: string, tenant: string): string {
  return requestIdFrom('key', tenant, key);
}

export function isRequestId(text: string): boolean {
  return /^r[0-9a-f]{32}$/.test(text);
}

function requestIdFrom(kind: 'key' | 'content', tenant: string, value: string): string {
  return `r${sha256(`${kind}\0${tenant}\0${value}`).slice(0, 32)}`;
}

function canonicalContent(content: Content): unknown {
  return [
    content.messages.map((m) => [m.role, m.content]),
    content.responses,
    content.reference ?? null,
    content.principles.map((p) => [p.text, p.weightPercent ?? null]),
    // Only where it is: requests without one keep the identity that they had before there were hints.
    ...(content.hintedBest === undefined ? [] : [content.hintedBest]),
  ];
}

/** What changes the answer. The time budget and quorum only say how long to wait for it, so a retry with another budget is still the same request. */
function canonicalOptions(options: ScoreInput['options']): unknown {
  const { k, kMeta, vote, temperature, topP, maxTokens, seed, template, meta, stop, stopError } = options;
  // A rule to stop by only where there is one: requests without keep the identity that they had before there were such rules.
  const stopping = stop === undefined && stopError === undefined ? [] : [stop, stopError];
  return [k, kMeta, vote, temperature, topP, maxTokens, seed, template, meta, ...stopping].map(
    (value) => value ?? null,
  );
}

function sha256(text: string): string {
  return hash('sha256', text, 'hex');
}
