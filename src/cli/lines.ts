// Lines: splits bytes at newlines, and at newlines alone: U+2028 and a lone carriage return are text inside a JSON string.

export interface Line {
  /** Without the newline; cut at the bound. */
  readonly head: Buffer;
  /** Without the newline. */
  readonly lengthBytes: number;
  /** False for what stands after the last newline. */
  readonly ended: boolean;
}

/** At most `headBytesMax` bytes of a line are held; the rest is counted and dropped. */
export async function* readLines(
  input: AsyncIterable<Buffer | string>,
  headBytesMax: number,
): AsyncGenerator<Line, void, undefined> {
  let parts: Buffer[] = [];
  let held = 0;
  let lengthBytes = 0;
  const keep = (part: Buffer): void => {
    lengthBytes += part.length;
    if (held >= headBytesMax || part.length === 0) return;
    const kept = part.subarray(0, headBytesMax - held);
    parts.push(kept);
    held += kept.length;
  };
  const take = (ended: boolean): Line => {
    const line = { head: parts.length === 1 ? parts[0]! : Buffer.concat(parts), lengthBytes, ended };
    parts = [];
    held = 0;
    lengthBytes = 0;
    return line;
  };
  for await (const chunk of input) {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    let from = 0;
    for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, from)) {
      keep(bytes.subarray(from, end));
      from = end + 1;
      yield take(true);
    }
    keep(bytes.subarray(from));
  }
  if (lengthBytes > 0) yield take(false);
}
