// `fake-engine`: starts the fake vLLM from the command line. Wiring only.
import { parseArgs } from 'node:util';
import { type FaultSpec, parseFault } from './faults.js';
import { activationNames, type FakeEngineOptions } from './options.js';
import { type FakeEngine, startFakeEngine } from './server.js';

const usage = `fake-engine: a stand-in for vLLM that invents its judgements. For tests and load only.

  --host HOST, --port PORT        where to listen (127.0.0.1, a free port)
  --model NAME                    the model's name (fake-grm)
  --instant                       no simulated time
  --seed N                        seed of judgements and faults (0)
  --accuracy A                    share of pairs one sample orders rightly, 0.5..1 (0.75)
  --meta-accuracy A               share of critiques the meta reward gets right, 0.5..1 (0.85)
  --extra-lines N                 up to so many more lines in a critique: judgements of different lengths (0)
  --max-num-seqs N                sequences that generate together (64)
  --step-base-ms MS, --step-per-sequence-ms MS, --prefill-tokens-per-second N
                                  the simulated machine (10, 0.1, 20000)
  --kv-blocks N, --block-tokens N, --max-model-len N
                                  the simulated memory (8192, 16, 32768)
  --record-prompts N              tell the blocks of the first N prompts: GET /fake/prompts (0)
  --stream-interval N             tokens per streamed chunk (8)
  --priority-scheduling           accept priorities
  --activation-name NAME          ${activationNames.join(' | ')}: the switch that /classify knows (use_activation)
  --classify-shape SHAPE          vllm | sglang (vllm)
  --api-key KEY                   refuse requests without this bearer token
  --fault KIND:SHARE[,delayMs=MS][,on=generate|meta]  or  KIND:next=N
                                  slow, hang, 500, 429, cut, garbage, truncate; repeatable; later changes: POST /fake/faults
`;

const number = (text: string | undefined) => (text === undefined ? undefined : Number(text));
const oneOf = <Name extends string>(
  flag: string,
  text: string | undefined,
  names: readonly Name[],
): Name | undefined => {
  if (text === undefined) return undefined;
  const name = names.find((known) => known === text);
  if (name === undefined) throw new RangeError(`--${flag} is one of ${names.join(', ')}`);
  return name;
};
const fault = (text: string): FaultSpec => {
  const spec = parseFault(text);
  if (typeof spec === 'string') throw new RangeError(`--fault ${spec}`);
  return spec;
};

/** Reads the command line; throws with what is wrong. */
function readOptions(): FakeEngineOptions | 'help' {
  const { values } = parseArgs({
    options: {
      help: { type: 'boolean' },
      host: { type: 'string' },
      port: { type: 'string' },
      model: { type: 'string' },
      instant: { type: 'boolean' },
      seed: { type: 'string' },
      accuracy: { type: 'string' },
      'meta-accuracy': { type: 'string' },
      'extra-lines': { type: 'string' },
      'max-num-seqs': { type: 'string' },
      'step-base-ms': { type: 'string' },
      'step-per-sequence-ms': { type: 'string' },
      'prefill-tokens-per-second': { type: 'string' },
      'kv-blocks': { type: 'string' },
      'block-tokens': { type: 'string' },
      'record-prompts': { type: 'string' },
      'max-model-len': { type: 'string' },
      'stream-interval': { type: 'string' },
      'priority-scheduling': { type: 'boolean' },
      'activation-name': { type: 'string' },
      'classify-shape': { type: 'string' },
      'api-key': { type: 'string' },
      fault: { type: 'string', multiple: true },
    },
  });

  if (values.help) return 'help';
  const given = {
    host: values.host,
    port: number(values.port),
    model: values.model,
    instant: values.instant,
    seed: number(values.seed),
    accuracy: number(values.accuracy),
    metaAccuracy: number(values['meta-accuracy']),
    extraLinesMax: number(values['extra-lines']),
    maxNumSeqs: number(values['max-num-seqs']),
    stepBaseMs: number(values['step-base-ms']),
    stepPerSequenceMs: number(values['step-per-sequence-ms']),
    prefillTokensPerSecond: number(values['prefill-tokens-per-second']),
    kvBlocks: number(values['kv-blocks']),
    blockTokens: number(values['block-tokens']),
    recordPrompts: number(values['record-prompts']),
    maxModelLen: number(values['max-model-len']),
    streamInterval: number(values['stream-interval']),
    priorityScheduling: values['priority-scheduling'],
    activationName: oneOf('activation-name', values['activation-name'], activationNames),
    classifyShape: oneOf('classify-shape', values['classify-shape'], ['vllm', 'sglang']),
    apiKey: values['api-key'],
    faults: values.fault?.map(fault),
  };
  // Absent means default, which is not the same as undefined.
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

async function start(): Promise<FakeEngine> {
  try {
    const options = readOptions();
    if (options !== 'help') return await startFakeEngine(options);
    process.stdout.write(usage);
    process.exit(0);
  } catch (error) {
    process.stderr.write(`fake-engine: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(2);
  }
}

const engine = await start();
process.stdout.write('FAKE ENGINE: the judgements of this process are invented. For tests and load only.\n');
process.stdout.write(`listening on ${engine.url}\n`);
if (process.send) {
  process.send({ kind: 'ready', url: engine.url });
  process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'));
}

let stopping: Promise<void> | undefined;
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    stopping ??= engine.close().then(() => process.exit(0));
  });
}
