// Checkpoint: how far all requests are finished, kept for coordinators that start (open-requests.ts, O4).

import { fault, FaultError } from '../fault.js';
import type { Publisher } from './publisher.js';
import type { Requests } from './requests.js';
import { subjects } from './subjects.js';

/** All before sequence `req` of GRM_REQ and `fin` of GRM_FIN was walked. */
export interface Place {
  readonly req: number;
  readonly fin: number;
  /** What of it is open. */
  readonly open: readonly OpenAt[];
  /** When the streams were made: it counts for these alone. */
  readonly reqCreated: string;
  readonly finCreated: string;
}

/** Request, sequence, when it was stored, whether it was taken up again. */
export type OpenAt = readonly [requestId: string, seq: number, atMs: number, isReopened: boolean];

interface Message {
  readonly seq: number;
  readonly subject: string;
  readonly atMs: number;
}

const stream = 'KV_GRM_TEMPLATES';
const encoder = new TextEncoder();

export class Checkpoints {
  constructor(
    private readonly requests: Requests,
    private readonly publisher: Publisher,
  ) {}

  /** undefined where there is none, or nothing that can be read: then the walk begins at the beginning. */
  async read(): Promise<Place | undefined> {
    const msg = await this.requests.call(`$JS.API.DIRECT.GET.${stream}.${subjects.checkpoint}`);
    if (msg.data.length === 0) return undefined;
    try {
      const { req, fin, open, reqCreated, finCreated } = msg.json<Partial<Place>>();
      if (!isPlace(req) || !isPlace(fin) || reqCreated === undefined || finCreated === undefined) return undefined;
      return open?.every(isOpenAt) ? { req, fin, open, reqCreated, finCreated } : undefined;
    } catch {
      return undefined;
    }
  }

  /** False where it finds no room: a walk is longer then, and finds the same. */
  async write(place: Place): Promise<boolean> {
    const result = await this.publisher.publish(subjects.checkpoint, encoder.encode(JSON.stringify(place)));
    return result.kind !== 'full';
  }

  /** True when the stream lost its end, with this message in it, and may have stored others under the same numbers since. */
  async isCut(last: Message | undefined): Promise<boolean> {
    if (!last) return false;
    const body = encoder.encode(JSON.stringify({ seq: last.seq }));
    const msg = await this.requests.call('$JS.API.DIRECT.GET.GRM_REQ', body);
    // Removed meanwhile, by the janitor or because it was cancelled: nothing speaks of a cut.
    if (msg.data.length === 0) return false;
    const atMs = Date.parse(msg.headers?.get('Nats-Time-Stamp') ?? '');
    if (Number.isNaN(atMs)) throw new FaultError(fault('internal', 'GRM_REQ: a message without its time'));
    return msg.headers?.get('Nats-Subject') !== last.subject || Math.abs(atMs - last.atMs) > 1;
  }
}

function isOpenAt(value: unknown): value is OpenAt {
  if (!Array.isArray(value)) return false;
  const [requestId, seq, atMs, isReopened] = value as unknown[];
  return typeof requestId === 'string' && isPlace(seq) && typeof atMs === 'number' && typeof isReopened === 'boolean';
}

function isPlace(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 1;
}
