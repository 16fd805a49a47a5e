// Reward: the handlers of RewardService. Each turns a message into a checked request, asks the coordinator, and sends the answer.

import type { ServerWritableStream } from '@grpc/grpc-js';
import { fault } from '../fault.js';
import { limits } from '../limits.js';
import { contentToProto } from '../wire/convert.js';
import { judgeToProto } from '../wire/judge.js';
import {
  Detail,
  type GetJudgeRequest,
  type GetJudgeResponse,
  type GetVerdictRequest,
  type GetVerdictResponse,
  type RewardServiceServer,
  type ScoreRequest,
  type ScoreResponse,
  type WatchScoreRequest,
  type WatchScoreResponse,
} from '../wire/gen/grm/v1/reward.js';
import { isRequestId } from '../coordinator/identity.js';
import { defaultTenant } from '../coordinator/intake.js';
import type { Content } from '../grm/query.js';
import { mayActFor, tenantFor } from './auth.js';
import { deadlineOf, shuttingDown, signalOf, unary, unexpected, type OpenCall, type RpcContext } from './calls.js';
import { sampleAt, verdictAt } from './detail.js';
import { invalid, readOptions, readRequest } from './request.js';
import { statusOf } from './status.js';
import { ScoreStreamSession } from './stream.js';

export function rewardHandlers(context: RpcContext): RewardServiceServer {
  return {
    score: unary<ScoreRequest, ScoreResponse>(context, 'rpc Score', async (call) => {
      const asked = readRequest(call.request, context.auth.grant(call.metadata), context.coordinator.templates);
      if (asked.kind === 'fault') return asked;
      const caller = { deadlineAtMs: deadlineOf(call, context), signal: signalOf(call, context.open) };
      const outcome = await context.coordinator.score(asked.input, caller);
      if (outcome.kind === 'fault') return outcome;
      const { value, detail } = verdictAt(outcome.verdict, asked.detail);
      return { kind: 'ok', value: { verdict: value, detail } };
    }),

    scoreStream: (call) => new ScoreStreamSession(call, context).begin(),

    watchScore: (call) => {
      const open: OpenCall = {
        drain: () => undefined,
        cut: () => {
          if (!gone(call)) call.emit('error', statusOf(shuttingDown));
          context.open.end(open);
        },
      };
      context.open.begin(open);
      watch(call, context)
        .catch((error: unknown) => call.emit('error', statusOf(unexpected(context, 'rpc WatchScore', error))))
        .finally(() => context.open.end(open));
    },

    getJudge: unary<GetJudgeRequest, GetJudgeResponse>(context, 'rpc GetJudge', ({ request }) => {
      const { coordinator } = context;
      const asked = readOptions(request.options, coordinator.templates);
      if (asked.kind === 'fault') return Promise.resolve(asked);
      const now = coordinator.judge(asked.options);
      if (now.kind === 'fault') return Promise.resolve(now);
      return Promise.resolve({ kind: 'ok', value: { judge: judgeToProto(now.judge) } });
    }),

    getVerdict: unary<GetVerdictRequest, GetVerdictResponse>(
      context,
      'rpc GetVerdict',
      async ({ request, metadata }) => {
        const grant = context.auth.grant(metadata);
        const tenant = tenantFor(grant, request.tenant) || defaultTenant;
        const refused = mayActFor(grant, tenant);
        if (refused) return { kind: 'fault', fault: refused };
        const bytes = Buffer.byteLength(request.requestId);
        if (bytes === 0 || bytes > limits.idempotencyKeyBytesMax) {
          const description = `came ${bytes} bytes, expected 1..${limits.idempotencyKeyBytesMax}: a request id or an idempotency key`;
          return { kind: 'fault', fault: invalid([{ field: 'request_id', description }]) };
        }
        const stored = await context.coordinator.stored(request.requestId, tenant);
        // A key is looked up inside its tenant; an id is not, and can be made from a key that is guessed.
        const foreign = grant.tenants !== undefined && isRequestId(request.requestId) && stored?.tenant !== tenant;
        if (!stored || foreign)
          return { kind: 'fault', fault: fault('not_found', 'no finished request of this id or key is kept') };
        const contentBytes = stored.content ? bytesOf(stored.content) : 0;
        const { value, detail } = verdictAt(stored.verdict, Detail.FULL, contentBytes);
        const content = stored.content && contentToProto(stored.content);
        return { kind: 'ok', value: { verdict: value, content, detail } };
      },
    ),
  };
}

/** Samples are written as they come: at most k of them, so a slow reader holds back no more than one verdict's worth. */
async function watch(
  call: ServerWritableStream<WatchScoreRequest, WatchScoreResponse>,
  context: RpcContext,
): Promise<void> {
  const asked = readRequest(call.request.request, context.auth.grant(call.metadata), context.coordinator.templates);
  if (asked.kind === 'fault') return void call.emit('error', statusOf(asked.fault));
  const samplesWanted = asked.detail !== Detail.REWARDS;
  const outcome = await context.coordinator.score(asked.input, {
    deadlineAtMs: deadlineOf(call, context),
    signal: signalOf(call, context.open),
    onSample: (judged) => {
      if (gone(call) || !samplesWanted) return;
      call.write({ event: { $case: 'sample', value: sampleAt(judged, asked.detail) }, detail: asked.detail });
    },
  });
  if (gone(call)) return;
  if (outcome.kind === 'fault') return void call.emit('error', statusOf(outcome.fault));
  const { value, detail } = verdictAt(outcome.verdict, asked.detail);
  call.write({ event: { $case: 'verdict', value }, detail });
  call.end();
}

function gone(call: ServerWritableStream<unknown, unknown>): boolean {
  return call.cancelled || call.destroyed || call.writableEnded;
}

function bytesOf(content: Content): number {
  const texts = [
    ...content.messages.map((message) => message.content),
    ...content.responses,
    ...content.principles.map((principle) => principle.text),
    content.reference ?? '',
  ];
  return texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
}
