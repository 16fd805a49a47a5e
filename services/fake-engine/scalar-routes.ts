// POST /classify and /pooling: the scalar head of the fake meta RM, in vLLM's and in SGLang's shape.
//
// The switch that turns the activation off is read only under the name this server knows; every other name is ignored without a word, as
// real servers do. With the activation on, a logit comes back as its sigmoid.
import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { defaultDelayMs, type FaultSpec } from './faults.js';
import { metaLogit } from './meta-judge.js';
import type { FakeModel } from './model.js';
import { isRecord, sendError, sendJson } from './reply.js';
import { countTokens } from './tokens.js';

export type ScalarRoute = 'classify' | 'pooling';

export function scalar(
  model: FakeModel,
  route: ScalarRoute,
  body: unknown,
  fault: FaultSpec | undefined,
  res: ServerResponse,
): void {
  const { settings } = model;
  if (!isRecord(body)) {
    sendError(res, 400, 'the body must be a JSON object');
    return;
  }
  const sglang = route === 'classify' && settings.classifyShape === 'sglang';
  const texts = textsOf(body[sglang ? 'text' : 'input']);
  if (texts === undefined) {
    sendError(res, 400, `${sglang ? 'text' : 'input'} must be a string or a list of strings`);
    return;
  }
  if (body['model'] !== undefined && body['model'] !== settings.model) {
    sendError(res, 404, `The model \`${JSON.stringify(body['model'])}\` does not exist.`, { param: 'model' });
    return;
  }
  const promptTokens = texts.reduce((sum, text) => sum + countTokens(text), 0);
  if (texts.some((text) => countTokens(text) > settings.maxModelLen)) {
    sendError(
      res,
      400,
      `This model's maximum context length is ${settings.maxModelLen} tokens. However, you requested ${promptTokens} tokens in the input. ` +
        'Please reduce the length of the input.',
    );
    return;
  }

  const raw = sglang || body[settings.activationName] === false;
  const scores = texts.map((text) => {
    const logit = metaLogit(text, settings);
    return raw ? logit : 1 / (1 + Math.exp(-logit));
  });
  const abort = model.run({
    prompt: texts.join('\n'),
    promptTokens,
    outputs: [{ tokens: 1, reason: 'stop' }],
    priority: 0,
    heldMs: fault?.kind === 'hang' ? Infinity : fault?.kind === 'slow' ? (fault.delayMs ?? defaultDelayMs) : 0,
    onTokens: () => undefined,
    onDone() {
      if (fault?.kind === 'cut') res.destroy();
      else if (fault?.kind === 'garbage' || fault?.kind === 'truncate') {
        res.writeHead(200, { 'content-type': 'application/json' }).end('{"data":[{"probs":[0.1');
      } else if (sglang)
        sendJson(
          res,
          200,
          scores.map((score) => ({ embedding: [score], meta_info: { prompt_tokens: promptTokens } })),
        );
      else sendJson(res, 200, vllmShape(model, route, scores, promptTokens));
    },
  });
  res.once('close', abort);
}

function vllmShape(model: FakeModel, route: ScalarRoute, scores: readonly number[], promptTokens: number): unknown {
  return {
    id: `${route === 'classify' ? 'classify' : 'pool'}-${randomUUID().replaceAll('-', '')}`,
    object: 'list',
    created: Math.floor(Date.now() / 1000),
    model: model.settings.model,
    data: scores.map((score, index) =>
      route === 'classify'
        ? { index, label: 'LABEL_0', probs: [score], num_classes: 1 }
        : { index, object: 'pooling', data: [score] },
    ),
    usage: {
      prompt_tokens: promptTokens,
      total_tokens: promptTokens,
      completion_tokens: 0,
      prompt_tokens_details: null,
    },
  };
}

function textsOf(input: unknown): readonly string[] | undefined {
  if (typeof input === 'string') return [input];
  if (!Array.isArray(input) || input.length === 0) return undefined;
  const texts = input as unknown[];
  return texts.every((text) => typeof text === 'string') ? texts : undefined;
}
