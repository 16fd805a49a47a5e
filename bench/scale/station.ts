// Station: something that works off what comes, one after the other, as fast as all its lanes together: a process's CPU, a server, a stream.
// A fluid of work, and exact for one lane; with several it is too quick for a lone piece of work by microseconds.

export interface Station {
  readonly name: string;
  readonly lanes: number;
  /** Work done and booked since the start, milliseconds of one lane. */
  readonly bookedMs: () => number;
  /** Books `costMs` of one lane's time; how long from now until it is done, milliseconds. */
  book(costMs: number): number;
}

export function station(name: string, time: { readonly timeMs: number }, lanes = 1): Station {
  let freeAtMs = 0;
  let bookedMs = 0;
  return {
    name,
    lanes,
    bookedMs: () => bookedMs,
    book(costMs) {
      bookedMs += costMs;
      freeAtMs = Math.max(time.timeMs, freeAtMs) + costMs / lanes;
      return freeAtMs - time.timeMs;
    },
  };
}
