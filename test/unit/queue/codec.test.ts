import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { makeSample } from '../../../src/grm/make-sample.js';
import type { Content } from '../../../src/grm/query.js';
import {
  decodeAppend,
  decodeContent,
  decodeDeadLetter,
  decodeMetaResult,
  decodeMetaTask,
  decodeRecord,
  decodeSample,
  decodeShard,
  decodeVerdict,
  encodeAppend,
  encodeContent,
  encodeDeadLetter,
  encodeMetaResult,
  encodeMetaTask,
  encodeRecord,
  encodeSample,
  encodeShard,
  encodeVerdict,
} from '../../../src/queue/codec.js';
import { sampleToProto } from '../../../src/wire/convert.js';
import * as pb from '../../../src/wire/gen/grm/v1/judgement.js';
import { Shard } from '../../../src/wire/gen/grm/work/v1/work.js';
import {
  aDeadLetter,
  aMetaResult,
  aMetaTask,
  anInvalidSample,
  aRecord,
  aSample,
  aShard,
  aVerdict,
  somePlan,
  someProvenance,
} from '../../support/work-values.js';

const text = fc.string({ unit: 'grapheme', maxLength: 300 });
const contents: fc.Arbitrary<Content> = fc
  .record({
    messages: fc.array(fc.record({ role: fc.constantFrom('system', 'user', 'assistant', 'tool'), content: text }), {
      minLength: 1,
      maxLength: 4,
    }),
    responses: fc.array(text, { minLength: 1, maxLength: 16 }),
    reference: fc.option(text, { nil: undefined }),
    principles: fc.array(
      fc
        .record({ text, weightPercent: fc.option(fc.integer({ min: 1, max: 100 }), { nil: undefined }) })
        .map(({ text: words, weightPercent }) => ({
          text: words,
          ...(weightPercent !== undefined && { weightPercent }),
        })),
      { maxLength: 3 },
    ),
    hintedBest: fc.option(fc.nat({ max: 15 }), { nil: undefined }),
  })
  .map(({ reference, hintedBest, ...rest }) => ({
    ...rest,
    ...(reference !== undefined && { reference }),
    ...(hintedBest !== undefined && { hintedBest }),
  }));

describe('what is written reads back exactly', () => {
  test('records, shards and meta tasks with any content, of any size of length prefix', () => {
    fc.assert(
      fc.property(contents, fc.nat(20_000), (content, padding) => {
        const padded = { ...content, responses: [...content.responses, 'x'.repeat(padding)] };
        const record = aRecord('r1', { content: padded });
        const stored = decodeRecord(encodeRecord(record, { bytes: encodeContent(padded) }));
        expect(stored.kind === 'whole' && stored.record).toEqual(record);
        const shard = aShard('r1', 3, { content: padded });
        expect(decodeShard(encodeShard(shard))).toEqual(shard);
        const task = aMetaTask('r1', 3, { content: padded });
        expect(decodeMetaTask(encodeMetaTask(task))).toEqual(task);
        expect(decodeContent(encodeContent(padded))).toEqual(padded);
      }),
      { numRuns: 60 },
    );
  });

  test('a shard says a permutation that all its samples share once, and what each draws by itself where they do not', () => {
    const shared = aShard('r1', 3);
    const mixed = {
      ...shared,
      samples: shared.samples.map((each, at) => ({ ...each, permutation: at ? [0, 1] : [1, 0] })),
    };
    expect(decodeShard(encodeShard(mixed))).toEqual(mixed);
    expect(encodeShard(mixed).length).toBeGreaterThan(encodeShard(shared).length);
    // One that a version before would take for one without a lane, and refuse.
    expect(Shard.decode(encodeShard(mixed)).lane).toBe('');
    const none = { ...shared, samples: [{ index: 4, seed: 1, permutation: [] }] };
    expect(() => decodeShard(encodeShard(none))).toThrow('shard: sample 4 has no permutation');
  });

  test('a record whose content stands in a blob, and one without kMeta', () => {
    const { kMeta: _, ...plan } = somePlan;
    const record = aRecord('r1', { plan });
    const stored = decodeRecord(encodeRecord(record, { blob: 'b10b' }));
    if (stored.kind !== 'blob') throw new Error('the content is elsewhere');
    expect(stored.blob).toBe('b10b');
    expect(stored.complete(record.content)).toEqual(record);
  });

  test.each([{ rule: 'outcome_fixed' }, { rule: 'confident', error: 0.025 }] as const)('adaptive k: %j', (stop) => {
    const record = aRecord('r1', { plan: { ...somePlan, stop } });
    const stored = decodeRecord(encodeRecord(record, { bytes: encodeContent(record.content) }));
    expect(stored.kind === 'whole' && stored.record).toEqual(record);
    for (const stopped of [{}, { stopped: 'outcome_fixed' }, { stopped: 'confident' }] as const) {
      const verdict = { ...aVerdict('r'), stopping: { stop, ...stopped, kDrawn: 5, samplesSaved: 3 } };
      expect(decodeVerdict(encodeVerdict(verdict))).toEqual(verdict);
    }
  });

  test('a sample that came as bytes goes out as these bytes, in a meta task and in a verdict, with what the vote says of it', () => {
    const bytes = encodeSample(aSample(2));
    const sample = decodeSample(Buffer.concat([Buffer.from('before'), bytes]).subarray(6));
    expect(encodeSample(sample)).toEqual(bytes);
    const task = aMetaTask('r1', 2, { items: [{ index: 2, sample }] });
    expect(encodeMetaTask(task)).toEqual(encodeMetaTask(aMetaTask('r1', 2)));
    expect(decodeMetaTask(encodeMetaTask(task))).toEqual(task);
    for (const judgement of [
      { kept: 'kept', metaReward: -0.25 },
      { kept: 'meta_rank', metaReward: 0 },
      { kept: 'invalid' },
    ] as const) {
      const verdict = { ...aVerdict('r'), samples: [{ sample, ...judgement }] };
      expect(decodeVerdict(encodeVerdict(verdict))).toEqual(verdict);
      const again = encodeVerdict(decodeVerdict(encodeVerdict(verdict)));
      expect(again).toEqual(encodeVerdict(verdict));
    }
  });

  test('principles and critique that are pieces of the text are stored as where they stand in it', () => {
    const judged = (text: string) => makeSample(0, text, { ...someProvenance, seed: 1 });
    for (const text of [
      'Specific Criteria:\n1. Truth\nAnalysis:\nThe first is right. \u{1f600} So \u00e9 and \ud800 it is.\nScores: \\boxed{7, 4}',
      'The first is right.\nScores: \\boxed{7, 4}',
      'Scores: \\boxed{7, 4}',
      'Analysis:\nNo scores.',
    ]) {
      const sample = judged(text);
      // UTF-8 has no lone surrogate; what stands for one is as long in UTF-16.
      expect(decodeSample(encodeSample(sample))).toEqual(judged(text.toWellFormed()));
      const whole = pb.Sample.encode(sampleToProto(sample)).finish().length;
      const twice = Buffer.byteLength(sample.principles + sample.critique);
      if (twice > 20) expect(encodeSample(sample).length).toBeLessThan(whole - twice + 10);
    }
    const foreign = aSample(0, { principles: 'written elsewhere' });
    expect(decodeSample(encodeSample(foreign))).toEqual(foreign);
    const wrong = pb.Sample.encode({ ...sampleToProto(aSample(0)), textsAt: [0, 1, 2] }).finish();
    expect(() => decodeSample(wrong)).toThrow('texts_at has 3 numbers, expected 4');
  });

  test('bytes that hold a judgement already are not taken for a bare sample', () => {
    const judged = Buffer.concat([encodeSample(aSample(2)), Buffer.from([11 << 3, 1])]);
    expect(encodeSample(decodeSample(judged))).toEqual(encodeSample(aSample(2)));
  });

  test('samples that were missing when time ran out', () => {
    const verdict = { ...aVerdict('r'), missing: { notAsked: 0, waiting: 7, unfinished: 128 } };
    expect(decodeVerdict(encodeVerdict(verdict))).toEqual(verdict);
  });

  test('samples, meta results, verdicts, dead letters', () => {
    for (const sample of [aSample(0), anInvalidSample(127)]) expect(decodeSample(encodeSample(sample))).toEqual(sample);
    for (const reward of [0, -0.5, 1e-300, 12.25]) {
      expect(decodeMetaResult(encodeMetaResult(aMetaResult('r', 1, reward)))).toEqual(aMetaResult('r', 1, reward));
    }
    const failed = { kind: 'failed', requestId: 'r', index: 1, failure: '', model: 'm', worker: 'w' } as const;
    expect(decodeMetaResult(encodeMetaResult(failed))).toEqual(failed);
    expect(decodeVerdict(encodeVerdict(aVerdict('r')))).toEqual(aVerdict('r'));
    for (const stage of ['sample', 'meta'] as const) {
      const letter = aDeadLetter('r', 7, { stage });
      expect(decodeDeadLetter(encodeDeadLetter(letter))).toEqual(letter);
    }
  });

  test('a shard and a meta task without content or sample', () => {
    const { content: _, ...shard } = aShard('r1', 0);
    expect(decodeShard(encodeShard(shard))).toEqual(shard);
    const { content: __, ...task } = aMetaTask('r1', 0, { items: [{ index: 0 }, { index: 4, sample: aSample(4) }] });
    expect(decodeMetaTask(encodeMetaTask(task))).toEqual(task);
  });
});

describe('appends', () => {
  test('hold results as they were encoded, in their order, of any length', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 8 }), (results) => {
        expect(decodeAppend(encodeAppend(results))).toEqual(results);
      }),
    );
    const samples = [aSample(3), anInvalidSample(5)];
    expect(decodeAppend(encodeAppend(samples.map(encodeSample))).map(decodeSample)).toEqual(samples);
  });

  test('a bare sample or meta result, as versions before lanes wrote them, and an empty append are refused', () => {
    for (const bytes of [encodeSample(aSample(3)), encodeMetaResult(aMetaResult('r', 1)), new Uint8Array(0)]) {
      expect(() => decodeAppend(bytes)).toThrow(RangeError);
    }
  });
});

describe('what cannot be read is refused', () => {
  const decoders = [
    decodeAppend,
    decodeRecord,
    decodeShard,
    decodeMetaTask,
    decodeSample,
    decodeMetaResult,
    decodeDeadLetter,
  ];

  test('any bytes either decode or throw; nothing hangs and nothing but an Error comes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.constantFrom(...decoders), (bytes, decode) => {
        try {
          decode(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(Error);
        }
      }),
      { numRuns: 500 },
    );
  });

  test('an empty shard, an empty record, an unknown class, an unknown stage', () => {
    expect(() => decodeShard(new Uint8Array(0))).toThrow(RangeError);
    expect(() => decodeMetaTask(new Uint8Array(0))).toThrow(RangeError);
    expect(() => decodeRecord(new Uint8Array(0))).toThrow(RangeError);
    expect(() => decodeDeadLetter(new Uint8Array(0))).toThrow(/stage/);
    for (const read of [decodeShard, decodeMetaTask]) {
      // What an older coordinator wrote has no lane.
      const older = [(1 << 3) | 2, 1, 0x72];
      expect(() => read(new Uint8Array(older))).toThrow(/older version/);
    }
    expect(() => decodeMetaTask(encodeMetaTask(aMetaTask('r', 0, { items: [] })))).toThrow(/no samples/);
    const shard = encodeShard(aShard('r', 0));
    const unknownClass = new Uint8Array([...shard, (13 << 3) | 0, 99]);
    expect(() => decodeShard(unknownClass)).toThrow(/class/);
  });
});
