// A GGUF file that anybody can have: a small Llama with random weights from a seed. It has the metadata that a real one has (tokenizer,
// chat template, rope), so llama.cpp loads it; what it says means nothing.
//
// Format: github.com/ggml-org/ggml docs/gguf.md, version 3, tensors as F32.

import { writeFileSync } from 'node:fs';

export interface TinyModel {
  readonly seed: number;
  /** Tokens the model claims to have been trained on. */
  readonly contextTokens: number;
  /** False: without tokenizer.chat_template. Default: ChatML. */
  readonly chatTemplate?: string | false;
  /** All output rows alike: every token has the same logit whatever was said. */
  readonly flat?: boolean;
  /** Further words of the vocabulary, at its end. */
  readonly control?: readonly string[];
  readonly userDefined?: readonly string[];
}

const CHATML =
  "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

const EMBEDDING = 64;
const HIDDEN = 128;
const LAYERS = 2;
const HEADS = 4;
const ALIGNMENT = 32;

/** Token types of llama.cpp. */
const NORMAL = 1;
const UNKNOWN = 2;
const CONTROL = 3;
const USER_DEFINED = 4;
const BYTE = 6;

/** Writes about half a megabyte. */
export function writeTinyGguf(path: string, model: TinyModel): void {
  const vocabulary = makeVocabulary(model);
  const metadata = makeMetadata(model, vocabulary);
  const tensors = makeTensors(model, vocabulary.length);

  const infos: Buffer[] = [];
  let offset = 0;
  for (const tensor of tensors) {
    infos.push(str(tensor.name), u32(tensor.shape.length), ...tensor.shape.map(u64), u32(0), u64(offset));
    offset += aligned(tensor.values.byteLength);
  }
  const head = Buffer.concat([
    Buffer.from('GGUF'),
    u32(3),
    u64(tensors.length),
    u64(metadata.length),
    ...metadata,
    ...infos,
  ]);
  const data = tensors.flatMap(({ values }) => [Buffer.from(values.buffer), padding(values.byteLength)]);
  writeFileSync(path, Buffer.concat([head, padding(head.length), ...data]));
}

interface Word {
  readonly text: string;
  readonly score: number;
  readonly type: number;
}

/** SentencePiece style: control tokens, bytes, printable characters, and the words that a meta model must be able to say. */
function makeVocabulary({ control: more = [], userDefined = [] }: TinyModel): readonly Word[] {
  const control = ['<unk>', '<s>', '</s>', '<|im_start|>', '<|im_end|>'];
  const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);
  const characters = ['\u2581', ...Array.from({ length: 94 }, (_, at) => String.fromCharCode(33 + at))];
  // Tokenizing merges pair by pair, so each word's parts are words too.
  const words = ['Ye', 'Yes', '\u2581Yes', 'No', '\u2581No'];
  return [
    ...control.map((text, at) => ({ text, score: 0, type: at === 0 ? UNKNOWN : CONTROL })),
    ...bytes.map((text) => ({ text, score: 0, type: BYTE })),
    ...characters.map((text) => ({ text, score: -100, type: NORMAL })),
    ...words.map((text, at) => ({ text, score: -10 + at, type: NORMAL })),
    ...more.map((text) => ({ text, score: 0, type: CONTROL })),
    ...userDefined.map((text) => ({ text, score: 0, type: USER_DEFINED })),
  ];
}

function makeMetadata(model: TinyModel, vocabulary: readonly Word[]): readonly Buffer[] {
  const template = model.chatTemplate ?? CHATML;
  return [
    kv('general.architecture', text('llama')),
    kv('general.name', text('tiny random llama')),
    kv('general.file_type', uint(0)),
    kv('llama.context_length', uint(model.contextTokens)),
    kv('llama.embedding_length', uint(EMBEDDING)),
    kv('llama.block_count', uint(LAYERS)),
    kv('llama.feed_forward_length', uint(HIDDEN)),
    kv('llama.attention.head_count', uint(HEADS)),
    kv('llama.attention.head_count_kv', uint(HEADS)),
    kv('llama.attention.layer_norm_rms_epsilon', float(1e-5)),
    kv('llama.rope.dimension_count', uint(EMBEDDING / HEADS)),
    kv('llama.vocab_size', uint(vocabulary.length)),
    kv('tokenizer.ggml.model', text('llama')),
    kv(
      'tokenizer.ggml.tokens',
      array(
        8,
        vocabulary.map((word) => str(word.text)),
      ),
    ),
    kv(
      'tokenizer.ggml.scores',
      array(
        6,
        vocabulary.map((word) => f32(word.score)),
      ),
    ),
    kv(
      'tokenizer.ggml.token_type',
      array(
        5,
        vocabulary.map((word) => u32(word.type)),
      ),
    ),
    kv('tokenizer.ggml.unknown_token_id', uint(0)),
    kv('tokenizer.ggml.bos_token_id', uint(1)),
    kv('tokenizer.ggml.eos_token_id', uint(4)),
    kv('tokenizer.ggml.add_bos_token', flag(true)),
    kv('tokenizer.ggml.add_space_prefix', flag(false)),
    ...(template === false ? [] : [kv('tokenizer.chat_template', text(template))]),
  ];
}

interface Tensor {
  readonly name: string;
  /** Innermost dimension first, as GGUF has it. */
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

function makeTensors(model: TinyModel, words: number): readonly Tensor[] {
  const random = gaussian(model.seed);
  const weights = (name: string, shape: readonly number[], scale: number): Tensor => {
    const values = new Float32Array(shape.reduce((a, b) => a * b, 1));
    for (let at = 0; at < values.length; at++) values[at] = random() * scale;
    return { name, shape, values };
  };
  const ones = (name: string): Tensor => ({ name, shape: [EMBEDDING], values: new Float32Array(EMBEDDING).fill(1) });
  const into = 1 / Math.sqrt(EMBEDDING);
  const layers = Array.from({ length: LAYERS }, (_, layer) => {
    const name = (part: string): string => `blk.${layer}.${part}.weight`;
    return [
      ones(name('attn_norm')),
      weights(name('attn_q'), [EMBEDDING, EMBEDDING], into),
      weights(name('attn_k'), [EMBEDDING, EMBEDDING], into),
      weights(name('attn_v'), [EMBEDDING, EMBEDDING], into),
      weights(name('attn_output'), [EMBEDDING, EMBEDDING], into),
      ones(name('ffn_norm')),
      weights(name('ffn_gate'), [EMBEDDING, HIDDEN], into),
      weights(name('ffn_up'), [EMBEDDING, HIDDEN], into),
      weights(name('ffn_down'), [HIDDEN, EMBEDDING], into),
    ];
  });
  return [
    weights('token_embd.weight', [EMBEDDING, words], 1),
    ...layers.flat(),
    ones('output_norm.weight'),
    // Logits with a standard deviation of about 2: some choice at temperature 1, and a clear winner at 0.
    weights('output.weight', [EMBEDDING, words], model.flat === true ? 0 : 2 * into),
  ];
}

/** Normal numbers from a seed (mulberry32, Box-Muller). */
function gaussian(seed: number): () => number {
  let state = seed >>> 0;
  const uniform = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (((mixed ^ (mixed >>> 14)) >>> 0) + 0.5) / 2 ** 32;
  };
  return () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function f32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return bytes;
}

function str(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([u64(bytes.length), bytes]);
}

/** A metadata value: its type's number, then the value. */
const uint = (value: number): Buffer => Buffer.concat([u32(4), u32(value)]);
const float = (value: number): Buffer => Buffer.concat([u32(6), f32(value)]);
const flag = (value: boolean): Buffer => Buffer.concat([u32(7), Buffer.from([value ? 1 : 0])]);
const text = (value: string): Buffer => Buffer.concat([u32(8), str(value)]);

function array(type: number, values: readonly Buffer[]): Buffer {
  return Buffer.concat([u32(9), u32(type), u64(values.length), ...values]);
}

function kv(key: string, value: Buffer): Buffer {
  return Buffer.concat([str(key), value]);
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}

function padding(bytes: number): Buffer {
  return Buffer.alloc(aligned(bytes) - bytes);
}
