// Environment: the one place that reads process.env. Everything else is told.

/** A copy, as it is now. */
export function environment(): Readonly<Record<string, string | undefined>> {
  return { ...process.env };
}
