// Pressure: when a stream of the ledger is short of room, and how far it is cut then.

/** Streams that the janitor can make room in. */
const trimmed: ReadonlySet<string> = new Set(['GRM_REQ', 'GRM_RES', 'GRM_FIN', 'OBJ_GRM_BLOBS']);
/** Trimming starts above the first share of max_bytes and aims at the second. */
const pressure = { above: 0.7, aim: 0.5 } as const;
/** What is there and what open requests will still store is at most so much of it: below what sheds new requests. */
const withReserve = 0.85;
/** However much is open, so much of what is finished may stay. */
const aimMin = 0.1;

export interface Fill {
  readonly stream: string;
  readonly bytes: number;
  readonly bytesMax: number;
}

/** @param reserveBytes what open requests will still store in it */
export function isPressed(fill: Fill, reserveBytes: number): boolean {
  if (!trimmed.has(fill.stream) || fill.bytesMax <= 0) return false;
  return fill.bytes > pressure.above * fill.bytesMax || isTight(fill, reserveBytes);
}

/** What is open would not fit: new requests are about to be shed. */
export function isTight({ bytes, bytesMax }: Fill, reserveBytes: number): boolean {
  return bytes > aimMin * bytesMax && bytes + reserveBytes > withReserve * bytesMax;
}

/** Bytes that it is cut down to. */
export function aimOf({ bytesMax }: Fill, reserveBytes: number): number {
  return Math.max(aimMin * bytesMax, Math.min(pressure.aim * bytesMax, 0.8 * bytesMax - reserveBytes));
}
