// Templates: short prompts with the default templates' markers, which the fake judge reads. How long a real prompt is, is an input.

import { createHash } from 'node:crypto';

const blocks = `
=== turn ===
[{{role}}] {{text}}

=== response ===
<<<response {{number}} {{nonce}}>>>
{{text}}
<<<end of response {{number}} {{nonce}}>>>

=== reference ===
[reference] {{text}}

=== principles ===
[criteria] {{text}}
`;

export const grmTemplate = `
=== list ===
{{query}}
{{reference}}
{{principles}}
{{responses}}
${blocks}`;

export const metaTemplate = `
=== user ===
{{query}}
{{reference}}
{{principles}}
{{responses}}
{{judgement}}
${blocks}
=== judgement ===
[judgement] {{text}}
`;

export const templateHash = createHash('sha256').update(grmTemplate).digest('hex');
