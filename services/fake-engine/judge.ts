// The fake judge: text in the project's output format (templates/) whose scores are right as often as asked.
//
// How accuracy maps. A response's utility is its latent quality plus Gumbel noise of scale s, so the better of two responses that are `gap`
// apart comes first with probability sigmoid(gap / s). With s = gap / ln(a / (1 - a)), where gap is the distance between the two best responses
// of the prompt, a pair is ordered rightly with probability a = `accuracy`, whatever its gap; in longer lists that holds for the two best, and
// wider gaps are ordered rightly more often. Scores are the utilities, rounded into 1..10 and pushed apart so that responses of different
// quality never tie (up to ten responses). A single response gets its quality with noise of the same kind at gap 2.
//
// Errors are independent between samples. Real judges repeat theirs, so votes gain more here than they would in life.
//
//   J1. Same prompt, seed and temperature: same text. At temperature 0 the seed is not read.
import { type PromptReading, readPrompt } from './prompt-reading.js';
import { gumbel, hash53, logit, type Random, seededRandom } from './random.js';

export interface JudgeOptions {
  /** 0.5..1. */
  readonly accuracy: number;
  readonly seed: number;
  /** Lines of critique, 0..this, beyond those that every judgement has: real ones differ in length. Default 0. */
  readonly extraLinesMax?: number;
}

export interface Sampling {
  readonly seed: number;
  readonly temperature: number;
}

/** One generation. */
export function judge(prompt: string, sampling: Sampling, options: JudgeOptions): string {
  const drawn = sampling.temperature === 0 ? 'greedy' : `${sampling.seed}|${sampling.temperature}`;
  const random = seededRandom(hash53(`${drawn}|${hash53(prompt)}`, options.seed));
  const reading = readPrompt(prompt);
  return write(reading, scoreAll(reading, options.accuracy, random), random, options.extraLinesMax ?? 0);
}

/** Integer scores 1..10 in the order shown. */
export function scoreAll(reading: PromptReading, accuracy: number, random: Random): readonly number[] {
  const qualities = reading.responses.map((response) => response.quality);
  const [best = 0, second = best - 2] = qualities.toSorted((a, b) => b - a);
  const gap = best - second || 2;
  const scale = accuracy >= 1 ? 0 : gap / Math.max(logit(accuracy), 1e-6);
  const utilities = qualities.map((quality) => quality + scale * gumbel(random));

  const order = utilities.map((_, place) => place).sort((a, b) => utilities[a]! - utilities[b]!);
  const scores = utilities.map((utility, place) => rounded(qualities[place]!, utility));
  const apart = (low: number, high: number) => (qualities[low] !== qualities[high] && order.length <= 10 ? 1 : 0);
  for (let rank = 1; rank < order.length; rank++) {
    const [low, high] = [order[rank - 1]!, order[rank]!];
    scores[high] = Math.max(scores[high]!, scores[low]! + apart(low, high));
  }
  for (let rank = order.length - 1, ceiling = 10; rank >= 0; rank--) {
    const place = order[rank]!;
    scores[place] = Math.min(scores[place]!, ceiling);
    if (rank > 0) ceiling = scores[place] - apart(order[rank - 1]!, place);
  }
  return scores;
}

/** Noise shows in a score by at most four points: a judge that is often wrong is still not absurd. */
function rounded(quality: number, utility: number): number {
  const near = Math.min(Math.max(utility, quality - 4), quality + 4);
  return Math.min(Math.max(Math.round(near), 1), 10);
}

const criteria = [
  'Accuracy of the facts and of the reasoning',
  'Following the instructions of the query',
  'Completeness of the answer',
  'Clarity and structure',
  'Safety and honesty about limits',
  'Usefulness for the person who asked',
];

const remarks = [
  'keeps to the question and covers its main point',
  'states its steps in an order that can be followed',
  'leaves a claim without support where the query asks for one',
  'adds detail that the query did not ask for',
  'handles the constraint in the query with care',
  'is brief, and says little about the harder part',
];

function write(reading: PromptReading, scores: readonly number[], random: Random, extraLinesMax: number): string {
  const pick = (from: readonly string[]) => from[Math.floor(random() * from.length)]!;
  const first = pick(criteria);
  const second = pick(criteria.filter((criterion) => criterion !== first));
  const third = pick(criteria.filter((criterion) => criterion !== first && criterion !== second));
  const weight = 40 + 5 * Math.floor(random() * 5);
  const analysis = reading.responses.map(
    (_, place) => `- Response ${place + 1}: it ${pick(remarks)}. Under the first criterion it ${pick(remarks)}.`,
  );
  const extraLines = extraLinesMax === 0 ? 0 : Math.floor(random() * (extraLinesMax + 1));
  const extra = Array.from({ length: extraLines }, () => `- On the whole, each ${pick(remarks)}.`);
  return [
    'Specific Criteria:',
    `1. ${first} (weight: ${weight}%)`,
    `2. ${second} (weight: ${80 - weight}%)`,
    `3. ${third} (weight: 20%)`,
    '',
    'Analysis:',
    'This critique was written by a fake engine; it weighs nothing.',
    ...analysis,
    ...extra,
    '',
    `Scores: \\boxed{${scores.join(', ')}}`,
  ].join('\n');
}
