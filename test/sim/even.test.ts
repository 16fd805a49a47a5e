// Half of the seeds; the other half is next door, so that both run at once. `make sim SEED=n` replays one seed with its trace, and
// `make sim SEEDS=10000` runs more of them.

import { test } from 'vitest';
import { asked } from './seeds.js';
import { sweep } from './sweep.js';

test('P1-P5, P7: every seed with an even number keeps the promises', async () => {
  await sweep(asked(process.env), 1, 2);
}, 3_600_000);
