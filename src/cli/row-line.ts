// Row line: how every row of our outputs begins, so that a later run knows the file and goes on with it.

/** `"retry":true` behind number and digest: the same command tries the row again. */
export const rowHead = /^\{"row":(\d{1,15}),"input":"([0-9a-f]{16})",("retry":true,)?/;

export interface RowPlace {
  readonly number: number;
  readonly digest: string;
}

/** A row of ours: its head, then `columns`, which are JSON without the first brace. */
export function lineOf({ number, digest }: RowPlace, again: boolean, columns: string): string {
  return `{"row":${number},"input":"${digest}",${again ? '"retry":true,' : ''}${columns}\n`;
}

export function rowLine(place: RowPlace, columns: Readonly<Record<string, unknown>>, again = false): string {
  return lineOf(place, again, JSON.stringify(columns).slice(1));
}
