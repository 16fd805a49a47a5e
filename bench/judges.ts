// The simulated judges of adaptive-k.ts.

/** Those that the bar is for. */
export const judgeNames = {
  fake: 'fake engine, accuracy 0.75',
  weak: 'accuracy 0.6',
  mixed: 'mixed: accuracy 0.52..0.92 by item, misled on 15% of them',
  four: 'mixed, four responses',
} as const;

/** Told besides: many responses, and some that every sample scores alike, from whose silence nothing follows for the others. */
export const otherJudgeNames = {
  eight: 'mixed, eight responses',
  hopeless: 'accuracy 0.6, two hopeless responses besides',
} as const;
