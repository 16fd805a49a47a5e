// Finish: what an engine's finish reason says of a text. Servers write the same thing in many words; this is the one place that knows them.
//
//   F1. Only a word known to mean "the model ended" makes a text whole. A word that nobody knows counts as a cut: a cut text is read more strictly
//       (parse.ts), so it costs a sample at worst.
//   F2. Absent or empty says nothing against the text. Whether such a text may count at all is for whoever saw the stream end (openai-stream.ts).

/** The model ended by itself, or at a text that the request named. Lower case, "-" and "_" left out. */
const ended: ReadonlySet<string> = new Set(
  'stop eos eostoken eosfound endturn endofturn stopsequence stopword stopstring stoptoken complete completed finish finished finishreasonstop done'.split(
    ' ',
  ),
);
/** The server gave up; the model did not end. */
const gaveUp: ReadonlySet<string> = new Set(
  'abort aborted error errored cancel cancelled canceled timeout failed failure preempted overloaded networkerror insufficientsystemresource errortoxic interrupted'.split(
    ' ',
  ),
);

export type Finish = 'ended' | 'cut' | 'gave_up' | 'unsaid';

/** `reason` as the engine wrote it: "stop", "length", "eos_token", "MAX_TOKENS", "content_filter", "tool_calls", ... */
export function finishOf(reason: string): Finish {
  const word = reason.trim().toLowerCase().replace(/[-_ ]/g, '');
  if (word === '' || word === 'null' || word === 'none') return 'unsaid';
  if (ended.has(word)) return 'ended';
  return gaveUp.has(word) ? 'gave_up' : 'cut';
}
