// Engines in the configuration: one shape per kind of engine, chosen by `kind`.

import { z } from 'zod';
import { limits } from '../limits.js';
import { choice, flag, httpUrl, list, optional, secret, text, told, whole } from './fields.js';

const minute = 60_000;
const hour = 60 * minute;

const modelServed = optional(text, 'Model to ask for; absent: the first that the server lists.');
const apiKey = optional(secret, 'Sent as a bearer token.', 'secret');
const slots = (fallback: number) => whole(1, limits.slotsMax, fallback, 'Samples in this engine at once.');
const metaSlots = (fallback: number) => whole(1, limits.slotsMax, fallback, 'Texts in this engine at once.');
const mode = choice(['chat', 'completions'], 'chat', 'Which of the two doors of the server is used.');
const requestTimeoutMs = whole(
  1_000,
  hour,
  2 * minute,
  'How long one sample may take in the engine, from the first byte out to the last byte in.',
);
const extraBody = told(
  z.record(z.string(), z.unknown()).default({}),
  'Fields for this server alone, such as guided_regex. They never replace ours.',
);
const stop = list(text, limits.llamaStopsMax, [], 'Texts that end a generation.');
const opensReasoning = flag(
  false,
  'The prompt template opens the reasoning, so texts begin inside of it: what stands before its closing marker is never read for scores, nor a text without one.',
);
const specialTokens = list(
  z.string().min(3).max(limits.specialTokenCharsMax),
  limits.specialTokensNamedMax,
  [],
  'Control tokens of the chat format that no text may spell, besides those that are known and those that the engine tells.',
);

const llamaCommon = {
  warmPrompts: optional(
    z
      .int()
      .min(1)
      .max(limits.llamaSequencesMax - 1),
    'Evaluated prompts that are kept for the samples to come, each as big as a slot; absent: 2, or 1 with one slot.',
  ),
  contextTokens: optional(
    z.int().min(256).max(1_048_576),
    'Context of one sample; absent: what the model was trained on, at most 4096.',
  ),
  threads: optional(z.int().min(1).max(1_024), 'CPU threads; absent: half of the CPUs.'),
  gpu: told(
    z.literal([false, 'auto', 'cuda', 'vulkan', 'metal']).default(false),
    'Where it computes: false = on the CPU; auto takes the best backend whose package is installed.',
  ),
  sharing: choice(
    ['copy', 'file', 'none'],
    'copy',
    'How the samples of one prompt share its evaluation: copied in memory, through a file, or not at all, which only a measurement wants.',
  ),
  specialTokens,
  modelsDir: optional(text, 'Where hf: models are kept; absent: ~/.cache/grm/models.'),
} as const;

const ggufModel = told(text, 'Path to a GGUF file, or hf:user/repo/file.gguf, or hf:user/repo:Q8_0.');

const openai = z.strictObject({
  kind: z.literal('openai'),
  baseUrl: told(httpUrl, 'Address of an OpenAI-compatible server (vLLM, SGLang, llama-server), with or without /v1.'),
  model: modelServed,
  apiKey,
  mode,
  slots: slots(64),
  requestTimeoutMs,
  priorityScheduling: flag(false, 'The server runs with priority scheduling: send it the class of a request.'),
  extraBody,
  stop,
  opensReasoning,
  specialTokens,
});

const managed = z.strictObject({
  kind: z.literal('managed'),
  model: told(text, 'Model that the started server loads.'),
  command: told(
    z.array(text).min(1).max(64).default(['vllm', 'serve']),
    'Program and first arguments. {model}, {port}, {gpus} and {tp} (number of GPUs) are filled in; a command without them is taken for vllm serve, and model, host, port and tensor parallelism follow.',
  ),
  args: list(z.string(), 256, [], 'Further arguments of the server.'),
  gpusPerEngine: whole(1, limits.gpusMax, 1, 'GPUs of one server; the worker starts one server per group of its GPUs.'),
  mode,
  slots: slots(64),
  requestTimeoutMs,
  readyTimeoutMs: whole(
    1_000,
    6 * hour,
    30 * minute,
    'How long a server may take to load its model before it is restarted.',
  ),
  logDir: told(text.default('.grm/engines'), "Folder of the servers' output."),
  priorityScheduling: flag(
    false,
    'The server is started with priority scheduling (in args): send it the class of a request.',
  ),
  extraBody,
  stop,
  opensReasoning,
  specialTokens,
});

const llama = z.strictObject({
  kind: z.literal('llama'),
  model: ggufModel,
  slots: slots(4),
  ...llamaCommon,
  grammar: choice(['none', 'score_box'], 'none', "Hold the output to the project's answer form."),
  stop,
  opensReasoning,
});

/** An engine that draws samples. */
export const engineSchema = z.discriminatedUnion('kind', [openai, managed, llama]);

const head = {
  baseUrl: told(httpUrl, 'Address of the server.'),
  model: modelServed,
  apiKey,
  slots: metaSlots(64),
  requestTimeoutMs,
  extraBody,
  specialTokens,
} as const;

const words = {
  yesWord: told(text.default('Yes'), 'Answer that stands for a right sample.'),
  noWord: told(text.default('No'), 'Answer that stands for a wrong one.'),
} as const;

/** An engine that gives meta rewards. */
export const metaEngineSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('vllm_classify'), ...head }),
  z.strictObject({ kind: z.literal('vllm_pooling'), ...head }),
  z.strictObject({ kind: z.literal('sglang_classify'), ...head }),
  z.strictObject({ kind: z.literal('yes_no'), ...head, ...words }),
  z.strictObject({ kind: z.literal('llama_yes_no'), model: ggufModel, slots: metaSlots(4), ...llamaCommon, ...words }),
]);
