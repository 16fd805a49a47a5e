// The simulated judges of adaptive-k.ts.

export const judgeNames = {
  fake: 'fake engine, accuracy 0.75',
  weak: 'accuracy 0.6',
  mixed: 'mixed: accuracy 0.52..0.92 by item, misled on 15% of them',
  four: 'mixed, four responses',
} as const;
