// The body of one sample's request. Pure.
import type { DrawJob, DrawSpec, PromptMessage } from './engine.js';

export interface RequestOptions {
  readonly mode: 'chat' | 'completions';
  readonly model: string;
  readonly stop: readonly string[];
  /** Send the priority: an error at servers without priority scheduling. */
  readonly priorityScheduling: boolean;
  /** Fields for this server alone; they never replace ours. */
  readonly extraBody: Readonly<Record<string, unknown>>;
}

export const generationPath = { chat: '/v1/chat/completions', completions: '/v1/completions' } as const;

export function requestBody(
  job: DrawJob,
  sample: DrawSpec,
  options: RequestOptions,
): Readonly<Record<string, unknown>> {
  return {
    ...options.extraBody,
    model: options.model,
    ...(options.mode === 'chat' ? { messages: job.messages } : { prompt: plainPrompt(job.messages) }),
    n: 1,
    seed: sample.seed,
    temperature: job.temperature,
    top_p: job.topP,
    max_tokens: job.maxTokens,
    stream: true,
    stream_options: { include_usage: true },
    ...(options.stop.length === 0 ? {} : { stop: options.stop }),
    ...(options.priorityScheduling ? { priority: job.priority } : {}),
  };
}

/** Messages for a model without a chat template: the texts, a blank line between them. */
export function plainPrompt(messages: readonly PromptMessage[]): string {
  return messages.map((message) => message.content).join('\n\n');
}

/**
 * The id under which the engine logs a request. vLLM refuses an id that is still running there, which a second try of the same sample would
 * have: hence the nonce.
 */
export function engineRequestId(requestId: string, index: number, nonce: string): string {
  return `${requestId.replaceAll(/[^\w.-]/g, '_').slice(0, 96)}-${index}-${nonce}`;
}
