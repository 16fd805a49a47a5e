// Open requests: which accepted requests have no verdict yet, known without listing those that have. GRM_REQ and GRM_FIN are walked once, from
// where the last look ended; what was accepted and not finished stays in mind.
//
//   O1. Every request that is accepted and has no verdict is in `open` after a look: its record is a message of GRM_REQ that the walk comes to,
//       and it leaves only when its verdict is seen, or when its record is certainly gone.
//   O2. A request that is taken up again has its record behind the walk. So a mark in GRM_REQ (`grm.reopen`), stored before the verdict is removed,
//       brings it back, and it is looked at until the mark is older than limits.reopenSettleMs, whatever the verdict was meanwhile.
//   O3. What is in mind may have been finished all the same (two streams are never read at one moment): whoever uses it confirms it.
//   O4. Coordinators share how far all is finished (`checkpoint`): a new one begins there. It is a hint of one stream: another stream of that
//       name, or one that lost its end, is walked from its beginning.
//   O5. A look costs what came since the last one. It holds the event loop for no longer than a batch takes to read.

import { limits } from '../limits.js';
import { fault, FaultError } from '../fault.js';
import { tryStreamInfo, type StreamFound } from './api.js';
import type { Checkpoints, OpenAt, Place } from './checkpoint.js';
import type { Link } from './link.js';
import type { Requests } from './requests.js';
import { parseRequestSubject } from './subjects.js';
import { Walk, type Step } from './walk.js';

export interface OpenParts {
  readonly link: Link;
  readonly requests: Requests;
  readonly checkpoints: Checkpoints;
}

export interface OpenRequest {
  /** Of its record, or of the mark that brought it back. */
  readonly seq: number;
  /** When that was stored, by the server's clock, milliseconds since the Unix epoch. */
  readonly atMs: number;
  /** O2: it was taken up again then. */
  readonly isReopened: boolean;
  /** Who accepted it, once its record was read. */
  owner?: string;
}

type There = Extract<StreamFound, { kind: 'there' }>;

/** Messages of GRM_REQ that are walked before GRM_FIN catches up: what is in mind at once stays small, however much is kept. */
const roundSteps = 20_000;
/** A checkpoint is shared when so many more were walked, with so many open ones at the most. */
const checkpointSteps = 10_000;
const checkpointOpenMax = 2_000;

export class OpenRequests {
  private readonly open = new Map<string, OpenRequest>();
  private req = 1;
  private fin = 1;
  private created = { req: '', fin: '' };
  private lossesSeen: number;
  private shared = 1;
  private looking: Promise<void> | undefined;
  /** Verdicts whose records are still ahead, with when they were stored. */
  private readonly early = new Map<string, number>();
  private lastRecord: Step | undefined;
  /** Walked verdicts that are ahead of the records. */
  private ahead: readonly Step[] = [];

  constructor(private readonly parts: OpenParts) {
    this.lossesSeen = parts.link.losses();
  }

  /** Brings what is in mind up to now. Rejects with FaultError(queue_unavailable). */
  look(): Promise<void> {
    this.looking ??= this.lookNow().finally(() => (this.looking = undefined));
    return this.looking;
  }

  entries(): ReadonlyMap<string, OpenRequest> {
    return this.open;
  }

  /** It is finished, or forgotten: confirmed by whoever looked. What was taken up again lately stays (O2). */
  drop(requestId: string, nowMs: number): void {
    const entry = this.open.get(requestId);
    if (entry?.isReopened && nowMs - entry.atMs < limits.reopenSettleMs) return;
    this.open.delete(requestId);
  }

  private async lookNow(): Promise<void> {
    const { requests } = this.parts;
    // In this order: what is finished by the time that GRM_FIN is looked at is not taken for open.
    const req = there('GRM_REQ', await tryStreamInfo(requests, 'GRM_REQ'));
    const fin = there('GRM_FIN', await tryStreamInfo(requests, 'GRM_FIN'));
    await this.place(req, fin);
    if (this.req <= req.state.last_seq || this.fin <= fin.state.last_seq) {
      this.ahead = [];
      this.early.clear();
      await this.walk();
    }
    await this.share();
  }

  /** Goes on where the last look ended, if that is still a place in these streams (O4). */
  private async place(req: There, fin: There): Promise<void> {
    const isSame = req.created === this.created.req && fin.created === this.created.fin;
    const wasLost = this.parts.link.losses() !== this.lossesSeen;
    this.lossesSeen = this.parts.link.losses();
    const hasEnd = this.req - 1 <= req.state.last_seq && this.fin - 1 <= fin.state.last_seq;
    if (isSame && hasEnd && !(wasLost && (await this.parts.checkpoints.isCut(this.lastRecord)))) return;
    const isFirst = this.created.req === '';
    this.created = { req: req.created, fin: fin.created };
    this.open.clear();
    this.early.clear();
    this.lastRecord = undefined;
    this.ahead = [];
    const found = isFirst ? await this.parts.checkpoints.read() : undefined;
    const fits =
      found?.reqCreated === req.created &&
      found.finCreated === fin.created &&
      found.req - 1 <= req.state.last_seq &&
      found.fin - 1 <= fin.state.last_seq;
    this.req = this.shared = fits ? found.req : 1;
    this.fin = fits ? found.fin : 1;
    if (fits) for (const [id, seq, atMs, isReopened] of found.open) this.open.set(id, { seq, atMs, isReopened });
  }

  /** Records first, then verdicts as far as those records reach in time, in turns. */
  private async walk(): Promise<void> {
    const { link, requests } = this.parts;
    const reqs = await Walk.open(link, requests, 'GRM_REQ', this.req);
    try {
      const fins = await Walk.open(link, requests, 'GRM_FIN', this.fin);
      try {
        for (;;) {
          const isMore = await this.walkRecords(reqs);
          await this.walkVerdicts(fins, isMore ? (this.lastRecord?.atMs ?? 0) : Infinity);
          if (!isMore) return;
        }
      } finally {
        await fins.close();
      }
    } finally {
      await reqs.close();
    }
  }

  /** False at the end. With too many open it ends as well: the rest is for a later look. */
  private async walkRecords(walk: Walk): Promise<boolean> {
    for (let steps = 0; steps < roundSteps;) {
      if (this.open.size >= limits.openRequestsMax) return false;
      const batch = await walk.next();
      if (batch.length === 0) return false;
      steps += batch.length;
      this.lastRecord = batch.at(-1);
      for (const { subject, seq, atMs } of batch) {
        this.req = seq + 1;
        const parsed = parseRequestSubject(subject);
        if (!parsed) continue;
        const { requestId, isReopened } = parsed;
        if (this.early.delete(requestId) && !isReopened) continue;
        this.open.set(requestId, { seq, atMs, isReopened });
      }
    }
    const reachedMs = this.lastRecord?.atMs ?? 0;
    for (const [id, atMs] of this.early) if (atMs <= reachedMs) this.early.delete(id);
    return true;
  }

  private async walkVerdicts(walk: Walk, untilMs: number): Promise<void> {
    for (;;) {
      if (this.ahead.length === 0) this.ahead = await walk.next();
      if (this.ahead.length === 0) break;
      const [{ atMs: firstMs } = { atMs: 0 }] = this.ahead;
      if (firstMs > untilMs) return;
      for (const { subject, seq, atMs } of this.ahead) {
        this.fin = seq + 1;
        const requestId = subject.slice(subject.lastIndexOf('.') + 1);
        if (this.open.has(requestId)) this.drop(requestId, atMs);
        else if (atMs > untilMs) this.early.set(requestId, atMs);
      }
      this.ahead = [];
    }
    if (untilMs === Infinity) this.early.clear();
  }

  /** O4. Not while very much is open: then a coordinator that starts goes on from an earlier place. */
  private async share(): Promise<void> {
    if (this.req - this.shared < checkpointSteps || this.open.size > checkpointOpenMax) return;
    const open = [...this.open].map(([id, { seq, atMs, isReopened }]): OpenAt => [id, seq, atMs, isReopened]);
    const { req, fin, created } = this;
    const place: Place = { req, fin, open, reqCreated: created.req, finCreated: created.fin };
    if (await this.parts.checkpoints.write(place)) this.shared = req;
  }
}

function there(stream: string, found: StreamFound): There {
  if (found.kind === 'there') return found;
  const words = found.kind === 'missing' ? `stream ${stream} is missing` : `stream ${stream}: ${found.why}`;
  throw new FaultError(fault('queue_unavailable', words));
}
