// The fake meta RM: one logit for a critique, whose sign is right as often as asked.
//
// A critique is right when the truly best response has a score strictly above every other (how arXiv 2504.02495 labels them); with one response, when the
// score is within two points of the latent quality. The logit is mu for a right critique and -mu for a wrong one, plus logistic noise, with
// mu = ln(m / (1 - m)): so the sign is right with probability m = `metaAccuracy`. The text alone decides the noise.
import { type PromptReading, readPrompt } from './prompt-reading.js';
import { hash53, logistic, logit, seededRandom } from './random.js';

const lastBox = /^[\s\S]*\\boxed\{([^{}]*)\}/;

/** A perfect meta RM is still finite. */
const logitMax = 12;

export interface MetaJudgeOptions {
  /** 0.5..1. */
  readonly metaAccuracy: number;
  readonly seed: number;
}

export function metaLogit(text: string, options: MetaJudgeOptions): number {
  const random = seededRandom(hash53(text, options.seed ^ 0x5bd1));
  const mean = Math.min(logit(options.metaAccuracy), logitMax);
  const noise = options.metaAccuracy >= 1 ? 0.5 * Math.tanh(logistic(random)) : logistic(random);
  const raw = (isRight(readPrompt(text)) ? mean : -mean) + noise;
  return Math.min(Math.max(raw, -logitMax), logitMax);
}

/** Whether the scores in the critique agree with the latent qualities. */
export function isRight(reading: PromptReading): boolean {
  const qualities = reading.responses.map((response) => response.quality);
  const box = lastBox.exec(reading.around)?.[1] ?? '';
  const scores = box.split(',').map((part) => Number.parseFloat(part));
  if (scores.length !== qualities.length || scores.some((score) => !Number.isFinite(score))) return false;
  if (qualities.length === 1) return Math.abs(scores[0]! - qualities[0]!) <= 2;
  const best = Math.max(...qualities);
  return qualities.some(
    (quality, place) => quality === best && scores.every((score, other) => other === place || score < scores[place]!),
  );
}

export interface TokenLogprob {
  readonly token: string;
  readonly logprob: number;
}

/** The first token's distribution for a Yes/No question, most likely first: log-odds of Yes over No = `metaReward`, spelled in several ways. */
export function yesNoDistribution(metaReward: number): readonly TokenLogprob[] {
  const yes = 1 / (1 + Math.exp(-metaReward));
  const no = 1 / (1 + Math.exp(metaReward));
  const spelled = (word: string, probability: number): [string, number][] => [
    [word, 0.9 * probability],
    [` ${word}`, 0.06 * probability],
    [word.toLowerCase(), 0.04 * probability],
  ];
  const words: [string, number][] = [...spelled('Yes', 0.98 * yes), ...spelled('No', 0.98 * no)];
  // Enough other words that an unlikely answer drops out of the twenty that a server lists.
  const others = otherWords.map((word, place): [string, number] => [
    word,
    0.02 * 2 ** -(1 + place / 2) * (Math.SQRT2 - 1) * Math.SQRT2,
  ]);
  return [...words, ...others]
    .sort((a, b) => b[1] - a[1])
    .map(([token, probability]) => ({ token, logprob: Math.log(probability) }));
}

const otherWords = [
  'The',
  'I',
  'It',
  'This',
  'Based',
  'Maybe',
  'A',
  '\n',
  'In',
  'Sure',
  'Yeah',
  'Not',
  '**',
  'There',
  'To',
  'We',
  'My',
  'As',
];
