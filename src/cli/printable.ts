// Printable: texts of models, files and other machines as a terminal may show them. They must not steer it.

/** C0 but tab and newline, DEL, C1; and the marks that turn the direction of writing round, which make a text read as another. */
// eslint-disable-next-line no-control-regex
const steering = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** Keeps lines and tabs; what steers becomes U+FFFD. */
export function printable(text: string): string {
  return text.replace(/\r\n/g, '\n').replace(steering, '\ufffd').toWellFormed();
}

/** White space folded, cut to `widthMax` characters with an ellipsis. */
export function oneLine(text: string, widthMax: number): string {
  // A long text is cut before it is looked at: no character takes more than two units, and the folding only shortens.
  const line = printable(
    text
      .slice(0, 16 * widthMax)
      .replace(/\s+/g, ' ')
      .trim(),
  );
  const characters = Array.from(line);
  const whole = characters.length <= widthMax && text.length <= 16 * widthMax;
  return whole ? line : `${characters.slice(0, widthMax - 1).join('')}…`;
}

export function indented(text: string, by = '  '): string {
  return printable(text)
    .split('\n')
    .map((line) => `${by}${line}`)
    .join('\n');
}
