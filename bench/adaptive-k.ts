// Adaptive k on recorded votes: samples saved and accuracy lost at k = 32, by error level, vote and judge.
//
//   node dist/bench/adaptive-k.js [--items 2000] [--seed 1] [--votes sum,meta_topk] [--recorded draws-1.jsonl] [--bar] [--json]
//
// Every item is drawn to the end with the fake engine's own judge (services/fake-engine), or was by the trainer's evaluation of a real one
// (--recorded: {"id", "labels", "scores": 32 lists or null, "rewards": 32 numbers or null} a line; items of one response are left out). Then
// the rules read the record look by look, as a coordinator does. Lost: share of items that are right at k and wrong where drawing stopped, less the reverse, in points, with the
// standard error of that. Changed: share of items whose best response at k is another one; the error level bounds this one. --bar: no more than
// the bar is about.
// Not measured: latency (small waves wait for each other), engines.

import { parseArgs } from 'node:util';
import { scoreAll } from '../services/fake-engine/judge.js';
import { judgeNames, otherJudgeNames } from './judges.js';
import { needText } from './places.js';
import { optionsOf, refuse } from './usage.js';
import { logistic, logit, seededRandom, type Random } from '../services/fake-engine/random.js';
import { voteMethods, type VoteMethod } from '../src/grm/query.js';
import { leaderChange, outcomeFixed, stopErrorDefault, nextLook, type StopCase } from '../src/grm/stop.js';
import { needsMeta, standing, type Scores } from '../src/grm/vote.js';

const values = optionsOf(
  () =>
    parseArgs({
      options: {
        items: { type: 'string', default: '2000' },
        seed: { type: 'string', default: '1' },
        votes: { type: 'string', default: voteMethods.join() },
        recorded: { type: 'string' },
        bar: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
      },
    }).values,
);
const count = Number(values.items);
if (!(Number.isInteger(count) && count > 0)) refuse(`--items ${values.items}: expected a whole number above 0`);
const wanted = (values.bar ? 'sum' : values.votes).split(',').map((asked): VoteMethod => {
  const vote = voteMethods.find((known) => known === asked);
  return vote ?? refuse(`--votes ${asked}: expected some of ${voteMethods.join(', ')}, separated by commas`);
});

const k = 32;
const bar = { savedShare: 0.5, lostPoints: 0.3, error: stopErrorDefault } as const;
const errors = values.bar ? [bar.error] : [0.001, 0.005, 0.01, 0.02, 0.05, 0.1];
const metaAccuracy = 0.85;

interface Judge {
  readonly name: string;
  readonly responses: number;
  /** So many more get a 1 from every sample. */
  readonly hopeless?: number;
  /** Accuracy of one sample on an item, and whether all its samples share a bias for a wrong response. */
  readonly ofItem: (random: Random) => { readonly accuracy: number; readonly misled: boolean };
}

const weak = (): ReturnType<Judge['ofItem']> => ({ accuracy: 0.6, misled: false });
const mixed: Judge['ofItem'] = (random) => ({ accuracy: 0.52 + 0.4 * random(), misled: random() < 0.15 });
const ofBar: readonly Judge[] = [
  { name: judgeNames.fake, responses: 2, ofItem: () => ({ accuracy: 0.75, misled: false }) },
  { name: judgeNames.weak, responses: 2, ofItem: weak },
  { name: judgeNames.mixed, responses: 2, ofItem: mixed },
  { name: judgeNames.four, responses: 4, ofItem: mixed },
];
const others: readonly Judge[] = [
  { name: otherJudgeNames.eight, responses: 8, ofItem: mixed },
  { name: otherJudgeNames.hopeless, responses: 2, hopeless: 2, ofItem: weak },
];

interface Item {
  readonly requestId: string;
  readonly responses: number;
  readonly right: number;
  /** The valid ones of the k, by index. */
  readonly samples: readonly Scores[];
  readonly metaRewards: ReadonlyMap<number, number>;
}

function record(judge: Judge, number: number, random: Random): Item {
  const { accuracy, misled } = judge.ofItem(random);
  const hopeless = Array<number>(judge.hopeless ?? 0).fill(1);
  // Distinct qualities; a misled judge sees another response as the best one.
  const drawn = Array.from({ length: 10 }, (_, at) => ({ quality: at + 1, key: random() }));
  const qualities = drawn
    .toSorted((a, b) => a.key - b.key)
    .slice(0, judge.responses)
    .map(({ quality }) => quality);
  const seenBest = qualities.indexOf(Math.max(...qualities));
  const right = misled ? (seenBest + 1) % judge.responses : seenBest;
  const reading = { responses: qualities.map((quality) => ({ text: '', quality })), around: '' };
  const metaRewards = new Map<number, number>();
  const samples = Array.from({ length: k }, (_, index): Scores => {
    const scores = [...scoreAll(reading, accuracy, random), ...hopeless];
    const isRight = scores.every((score, response) => response === right || score < scores[right]!);
    metaRewards.set(index, (isRight ? 1 : -1) * logit(metaAccuracy) + logistic(random));
    return { index, scores };
  });
  return { requestId: `item-${number}`, responses: judge.responses + hopeless.length, right, samples, metaRewards };
}

/** Where each rule stops on one item, and what is best there. */
interface Stops {
  readonly bestAtK: number;
  readonly fixedAt: { readonly drawn: number; readonly best: number };
  readonly confidentAt: readonly { readonly drawn: number; readonly best: number }[];
}

interface RecordedRow {
  readonly id: string;
  readonly labels: readonly number[];
  readonly scores: readonly (readonly number[] | null)[];
  readonly rewards: readonly (number | null)[];
}

function isRecorded(row: unknown): row is RecordedRow {
  if (typeof row !== 'object' || row === null) return false;
  const lists: readonly (keyof RecordedRow)[] = ['labels', 'scores', 'rewards'];
  return 'id' in row && lists.every((name) => Array.isArray((row as Partial<RecordedRow>)[name]));
}

function readRecorded(path: string): Item[] {
  const rows = needText('--recorded', path).trimEnd().split('\n');
  return rows.flatMap((line, at): Item[] => {
    const where = `--recorded ${path}: line ${at + 1}`;
    const row = optionsOf(
      () => JSON.parse(line) as unknown,
      (words) => refuse(`${where}: expected JSON: ${words}`),
    );
    if (!isRecorded(row)) refuse(`${where}: expected {"id", "labels", "scores", "rewards"}, three of them lists`);
    const { id, labels, scores, rewards } = row;
    if (scores.length !== k) refuse(`${where}: ${id} has ${scores.length} samples, expected ${k}`);
    const samples = scores.flatMap((of, index): Scores[] => (of ? [{ index, scores: of }] : []));
    const metaRewards = new Map(
      rewards.flatMap((reward, index) => (reward === null ? [] : [[index, reward] as const])),
    );
    const right = labels.indexOf(Math.max(...labels));
    return labels.length < 2 || samples.length === 0
      ? []
      : [{ requestId: id, responses: labels.length, right, samples, metaRewards }];
  });
}

function read(item: Item, vote: VoteMethod): Stops {
  const { requestId, responses, metaRewards } = item;
  const upTo = (drawn: number): readonly Scores[] => item.samples.filter(({ index }) => index < drawn);
  const plan = { k, vote };
  const rewards = (drawn: number): ReadonlyMap<number, number> =>
    new Map(needsMeta(vote) ? [...metaRewards].filter(([index]) => index < drawn) : []);
  const best = (drawn: number): number => standing(requestId, plan, responses, upTo(drawn), rewards(drawn)).ranking[0]!;
  const confidentAt = errors.map(() => k);
  const confident: StopCase = { requestId, n: responses, plan, stop: { rule: 'confident', error: 0.5 } };
  const isOver = (): boolean => confidentAt.every((at) => at < k);
  for (let drawn = nextLook(confident.stop, k, 0); drawn < k && !isOver(); drawn = nextLook(confident.stop, k, drawn)) {
    const seen = upTo(drawn);
    if (seen.length === 0) continue;
    const isFixed = outcomeFixed(confident, seen, rewards(drawn), drawn);
    const chance = isFixed ? 0 : leaderChange(confident, seen, rewards(drawn), drawn);
    errors.forEach((error, at) => {
      if (chance <= error) confidentAt[at] = Math.min(confidentAt[at]!, drawn);
    });
  }
  const fixed: StopCase = { ...confident, stop: { rule: 'outcome_fixed' } };
  let fixedAt = values.bar ? k : nextLook(fixed.stop, k, 0);
  while (fixedAt < k && !outcomeFixed(fixed, upTo(fixedAt), rewards(fixedAt), fixedAt)) {
    fixedAt = nextLook(fixed.stop, k, fixedAt);
  }
  return {
    bestAtK: best(k),
    fixedAt: { drawn: fixedAt, best: best(fixedAt) },
    confidentAt: confidentAt.map((drawn) => ({ drawn, best: best(drawn) })),
  };
}

interface Row {
  readonly judge: string;
  readonly vote: VoteMethod;
  readonly rule: string;
  readonly error: number | null;
  readonly accuracyAtK: number;
  readonly lostPoints: number;
  /** Standard error of lostPoints. */
  readonly lostError: number;
  readonly changedShare: number;
  readonly savedShare: number;
}

function drawnBy(judge: Judge): Item[] {
  const random = seededRandom(Number(values.seed));
  return Array.from({ length: count }, (_, number) => record(judge, number, random));
}

function rowsOf(judge: string, items: readonly Item[]): Row[] {
  return wanted.flatMap((vote) => {
    const stops = items.map((item) => ({ item, ...read(item, vote) }));
    const rightAtK = stops.filter(({ item, bestAtK }) => bestAtK === item.right).length;
    const row = (rule: string, error: number | null, at: (stop: Stops) => Stops['fixedAt']): Row => {
      const lost = stops.map(
        (each) => Number(each.bestAtK === each.item.right) - Number(at(each).best === each.item.right),
      );
      const lostShare = lost.reduce((sum, each) => sum + each, 0) / items.length;
      const lostVariance = lost.reduce((sum, each) => sum + each ** 2, 0) / items.length - lostShare ** 2;
      const changed = stops.filter((each) => at(each).best !== each.bestAtK).length;
      const drawn = stops.reduce((sum, each) => sum + at(each).drawn, 0);
      return {
        judge,
        vote,
        rule,
        error,
        accuracyAtK: rightAtK / items.length,
        lostPoints: 100 * lostShare,
        lostError: 100 * Math.sqrt(lostVariance / items.length),
        changedShare: changed / items.length,
        savedShare: 1 - drawn / items.length / k,
      };
    };
    return [
      ...(values.bar ? [] : [row('outcome_fixed', null, (stop) => stop.fixedAt)]),
      ...errors.map((error, at) => row('confident', error, (stop) => stop.confidentAt[at]!)),
    ];
  });
}

const asked: readonly (readonly [string, Item[]])[] =
  values.recorded === undefined
    ? [...ofBar, ...(values.bar ? [] : others)].map((judge) => [judge.name, drawnBy(judge)] as const)
    : [[values.recorded, readRecorded(values.recorded)]];
const rows = asked.flatMap(([name, items]) => rowsOf(name, items));
if (values.json) console.log(JSON.stringify(rows, undefined, 1));
else {
  const percent = (share: number): string => `${(100 * share).toFixed(1)}%`;
  for (const [name] of asked) {
    console.log(`\n### ${name}\n`);
    console.log('| vote | rule | error | right at k | points lost | best changed | samples saved |');
    console.log('| --- | --- | --- | --- | --- | --- | --- |');
    for (const row of rows.filter(({ judge }) => judge === name)) {
      const cells = [
        row.vote,
        row.rule,
        row.error ?? '-',
        percent(row.accuracyAtK),
        `${row.lostPoints.toFixed(2)} ± ${row.lostError.toFixed(2)}`,
        `${(100 * row.changedShare).toFixed(2)}%`,
        percent(row.savedShare),
      ];
      console.log(`| ${cells.join(' | ')} |`);
    }
  }
  const told: readonly string[] = Object.values(otherJudgeNames);
  const judged = rows.filter(
    ({ error, vote, judge }) => error === bar.error && vote === 'sum' && !told.includes(judge),
  );
  console.log(`\nThe bar (vote sum, error ${bar.error}: at least half saved, at most ${bar.lostPoints} points lost):`);
  for (const { judge, savedShare, lostPoints, lostError } of judged) {
    const met = savedShare >= bar.savedShare && lostPoints <= bar.lostPoints;
    const lost = `${lostPoints.toFixed(2)} ± ${lostError.toFixed(2)} lost`;
    console.log(`* ${judge}: ${percent(savedShare)} saved, ${lost}: ${met ? 'met' : 'not met'}`);
  }
}
