// Texts at: principles and critique are pieces of a sample's text. The ledger and the queues hold the text, and where they stand in it: up to
// half of a sample's bytes, a third of those of a whole request, wherever a sample is written, stored or sent.

import type { Sample } from '../grm/sample.js';
import type { Sample as WireSample } from './gen/grm/v1/judgement.js';

type Texts = Pick<Sample, 'principles' | 'critique'>;

/** `message` without the texts that its own text holds. Those which are no pieces of it stay. */
export function withoutPieces(message: WireSample): WireSample {
  const { text, principles, critique } = message;
  const principlesAt = text.indexOf(principles);
  const critiqueAt = text.indexOf(critique, Math.max(0, principlesAt));
  const isWhole = principles === '' && critique === '';
  if (isWhole || principlesAt < 0 || critiqueAt < 0) return message;
  const textsAt = [principlesAt, principles.length, critiqueAt, critique.length];
  return { ...message, principles: '', critique: '', textsAt };
}

/** Throws RangeError where it does not say four numbers. */
export function textsOf({ text, principles, critique, textsAt }: WireSample): Texts {
  if (textsAt.length === 0) return { principles, critique };
  const [principlesAt, principlesLength, critiqueAt, critiqueLength] = textsAt;
  if (textsAt.length !== 4) throw new RangeError(`sample: texts_at has ${textsAt.length} numbers, expected 4`);
  return {
    principles: text.slice(principlesAt, principlesAt! + principlesLength!),
    critique: text.slice(critiqueAt, critiqueAt! + critiqueLength!),
  };
}
