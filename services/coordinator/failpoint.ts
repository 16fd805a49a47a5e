// The failpoint of this process: GRM_FAILPOINT=name or name:n has it die, as by kill -9, the first or n-th time it comes there. Only
// tests set it.

import { failpoints, type Failpoint } from '../../src/coordinator/failpoints.js';

/**
 * Throws a RangeError for a name that does not exist: a test of nothing must not pass.
 * @returns what to tell of every failpoint that is passed; undefined without the variable
 */
export function failpointOf(text: string | undefined, die: () => void): ((point: Failpoint) => void) | undefined {
  if (text === undefined || text === '') return undefined;
  const [name = '', count = '1'] = text.split(':');
  const wanted = failpoints.find((point) => point === name);
  if (!wanted || !/^[1-9]\d{0,5}$/.test(count)) {
    const expected = `one of ${failpoints.join(', ')}, or one of them with :n`;
    throw new RangeError(`GRM_FAILPOINT: came ${JSON.stringify(text)}, expected ${expected}`);
  }
  let left = Number(count);
  return (point) => {
    if (point !== wanted) return;
    left -= 1;
    if (left === 0) die();
  };
}
