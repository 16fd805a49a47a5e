// One measurement in a process of its own, so that it can be cut off and nothing of it disturbs the next.
//
//   node child.js NAME SECONDS [PROFILE FOLDER]     started by apart.ts, which hears News

import { measurements } from './measurements.js';
import { dropAtSignals, dropOwned, tellOwned, type OwnedNews } from './owned.js';

export type News =
  | OwnedNews
  | { readonly kind: 'tell'; readonly words: string }
  | {
      readonly kind: 'found';
      readonly name: string;
      readonly value: number;
      readonly ceiling?: number;
      readonly error?: number;
    }
  | { readonly kind: 'failed'; readonly why: string };

const [name = '', seconds = '', profileDir] = process.argv.slice(2);

/** Resolves when it is on its way: process.exit would lose it. */
function say(news: News): Promise<void> {
  return new Promise((resolve) => {
    if (!process.send || !process.connected) resolve();
    else process.send(news, undefined, undefined, () => resolve());
  });
}

dropAtSignals();
tellOwned((news) => void say(news));

const measurement = measurements.find((each) => each.name === name);
if (!measurement) throw new Error(`no measurement ${name}`);
try {
  await measurement.measure({
    seconds: Number(seconds),
    profileDir,
    tell: (words) => void say({ kind: 'tell', words }),
    found: (figure, value, ceiling, error) => {
      const beside = { ...(ceiling !== undefined && { ceiling }), ...(error !== undefined && { error }) };
      void say({ kind: 'found', name: figure, value, ...beside });
    },
  });
} catch (error) {
  await say({ kind: 'failed', why: error instanceof Error ? error.message : String(error) });
}
// Connections of held requests would keep the process.
dropOwned();
await say({ kind: 'tell', words: '' });
process.exit(0);
