// Trim blobs: makes room in the object store before it is full.
//
//   J5. A blob is freed when its request has a verdict, or when it is too old to be of a message that is still on its way; contents go first.
//   J8. One blob that cannot be read or freed keeps none of the others.

import { lastMessage, purge } from './api.js';
import type { BlobInfo, Blobs, HeldBlob } from './blobs.js';
import type { OnQueueEvent } from './events.js';
import type { OpenRequests } from './open-requests.js';
import type { Requests } from './requests.js';
import { subjects } from './subjects.js';

export interface BlobTrimmerParts {
  readonly requests: Requests;
  readonly blobs: Blobs;
  /** As it was looked at after the blobs were listed. */
  readonly open: Pick<OpenRequests, 'entries'>;
  readonly trimMarginMs: number;
  /** J5: a blob without its message is left over after so long. */
  readonly blobOrphanMs: number;
  readonly onEvent: OnQueueEvent;
}

interface Removable extends HeldBlob {
  readonly bytes: number;
  readonly storedAtMs: number;
  /** Its request has a verdict; otherwise it is left over. */
  readonly finished: boolean;
}

const readsAheadMax = 16;

export class BlobTrimmer {
  constructor(private readonly parts: BlobTrimmerParts) {}

  held(): Promise<readonly HeldBlob[]> {
    return this.parts.blobs.held();
  }

  /** J5. */
  async trim(surplusBytes: number, held: readonly HeldBlob[], nowMs: number): Promise<void> {
    const removable: Removable[] = [];
    for (let at = 0; at < held.length; at += readsAheadMax) {
      const found = await Promise.all(held.slice(at, at + readsAheadMax).map((blob) => this.look(blob, nowMs)));
      for (const blob of found) if (blob) removable.push(blob);
    }
    removable.sort((a, b) => (a.holds === b.holds ? a.storedAtMs - b.storedAtMs : a.holds === 'content' ? -1 : 1));
    let left = surplusBytes;
    let freed = 0;
    for (const blob of removable) {
      if (left <= 0) break;
      if (!(await this.carefully(blob.name, () => this.remove(blob)))) continue;
      left -= blob.bytes;
      freed += 1;
    }
    if (freed > 0) this.parts.onEvent({ kind: 'trimmed', stream: 'OBJ_GRM_BLOBS', messages: freed });
  }

  /** undefined when it must stay. */
  private look(blob: HeldBlob, nowMs: number): Promise<Removable | undefined> {
    return this.carefully(blob.name, async () => {
      const { requestId, name, holds } = blob;
      const isOpen = this.parts.open.entries().has(requestId);
      const finished = await this.hasMessage('GRM_FIN', subjects.verdict(requestId));
      if (!finished && holds === 'content') {
        if (isOpen || (await this.hasMessage('GRM_REQ', subjects.request(requestId)))) return undefined;
      }
      const info: BlobInfo | undefined = await this.parts.blobs.info(name);
      const ageMin = finished ? this.parts.trimMarginMs : this.parts.blobOrphanMs;
      return info && nowMs - info.storedAtMs >= ageMin ? { ...blob, ...info, finished } : undefined;
    });
  }

  /** The messages that refer to a blob go before it (J3), so that nobody reads of a blob that is not there. */
  private async remove({ name, holds, requestId, finished }: Removable): Promise<boolean> {
    const { requests, blobs } = this.parts;
    if (finished) {
      // Reopened since it was listed?
      if (!(await this.hasMessage('GRM_FIN', subjects.verdict(requestId)))) return false;
      await purge(requests, 'GRM_REQ', { filter: subjects.request(requestId) });
      if (holds === 'verdict') await purge(requests, 'GRM_FIN', { filter: subjects.verdict(requestId) });
    }
    await blobs.free(name);
    return true;
  }

  private async hasMessage(stream: 'GRM_REQ' | 'GRM_FIN', subject: string): Promise<boolean> {
    return (await lastMessage(this.parts.requests, stream, subject)) !== undefined;
  }

  /** J8. */
  private async carefully<T>(name: string, act: () => Promise<T>): Promise<T | undefined> {
    try {
      return await act();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.parts.onEvent({ kind: 'undecodable', label: `blob ${name}`, reason });
      return undefined;
    }
  }
}
