// Last words: from a service's output to the few lines that tell a person why it ended.

/** A line longer than this is cut. */
const lineCharsMax = 64 * 1024;

/** Whole lines out of chunks. */
export class LineSplitter {
  #rest = '';
  readonly #decoder = new TextDecoder();

  constructor(private readonly onLine: (line: string) => void) {}

  take(chunk: Uint8Array): void {
    const lines = (this.#rest + this.#decoder.decode(chunk, { stream: true })).split('\n');
    this.#rest = (lines.pop() ?? '').slice(0, lineCharsMax);
    for (const line of lines) if (line.trim() !== '') this.onLine(line);
  }
}

/** What a line of our JSON log says; the line itself when it is none. */
export function logWords(line: string): { readonly level: string; readonly words: string } {
  try {
    const { level, message, error } = JSON.parse(line) as { level?: unknown; message?: unknown; error?: unknown };
    if (typeof level !== 'string' || typeof message !== 'string') return { level: '', words: line };
    const cause =
      typeof error === 'object' && error !== null && 'message' in error && typeof error.message === 'string'
        ? `: ${error.message}`
        : '';
    return { level, words: `${message}${cause}` };
  } catch {
    return { level: '', words: line };
  }
}

const grave: ReadonlySet<string> = new Set(['error', 'fatal']);

/** What the lines call an error, and what is no line of our log; all of them when that is nothing. One a line, indented. */
export function lastWords(lines: readonly string[]): string {
  const told = lines.map(logWords);
  const errors = told.filter(({ level }) => grave.has(level) || level === '');
  return (errors.length > 0 ? errors : told).map(({ words }) => `  ${words}`).join('\n');
}

/** The last error that our log tells of; undefined when there is none. */
export function lastError(lines: readonly string[]): string | undefined {
  return lines.map(logWords).findLast(({ level }) => grave.has(level))?.words;
}
