// Blobs: what is too big for one NATS message, in chunks.
//
// A stream of the name and subjects of a NATS object store, with one subject per chunk: a reader asks for each by its name and needs no
// consumer, whose filter could be of anybody's blobs. A name holds a random part, so that only whoever read it in the message that it
// belongs to can ask for it.
//
//   B1. A blob belongs to one message of one request, and no two writers share one. So whoever knows that the message is gone, or that it
//       was never stored, may free its blob, whatever else is accepted meanwhile.
//   B2. A blob is whole or not there: its entry is stored after its chunks and removed before them.

import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { fault, FaultError } from '../fault.js';
import { limits } from '../limits.js';
import { steadyNow } from '../process/clock.js';
import { purge, subjectsOf } from './api.js';
import type { Publisher } from './publisher.js';
import type { Requests } from './requests.js';
import { filters, subjects, token } from './subjects.js';

/** What a blob holds: the content of a record in GRM_REQ, or a verdict of GRM_FIN. */
export type BlobKind = 'content' | 'verdict';

export type BlobPut = { readonly kind: 'stored'; readonly name: string } | { readonly kind: 'full' };

export interface HeldBlob {
  readonly name: string;
  readonly holds: BlobKind;
  readonly requestId: string;
}

export interface BlobInfo {
  readonly bytes: number;
  /** By the server's clock, milliseconds since the Unix epoch. */
  readonly storedAtMs: number;
}

interface Entry {
  readonly bytes: number;
  readonly chunks: number;
}

const stream = 'OBJ_GRM_BLOBS';
const namePattern = /^(content|verdict)\.([A-Za-z0-9_-]+)\.[0-9a-f-]+$/;
const chunkBytes = 128 * 1_024;
/** Chunks of one blob under way at once. */
const aheadMax = 8;
/** A replica that lags behind has what was stored soon: pauses before it is asked for again. */
export const lagPausesMs = [50, 200, 800] as const;
const encoder = new TextEncoder();

export class Blobs {
  constructor(
    private readonly requests: Requests,
    private readonly publisher: Publisher,
  ) {}

  /** Resolves to the blob's name once it is stored: a new one at each call (B1). Throws FaultError(queue_unavailable) when NATS is away. */
  async put(holds: BlobKind, requestId: string, bytes: Uint8Array): Promise<BlobPut> {
    const name = `${holds}.${token(requestId, 'request')}.${randomUUID()}`;
    const entry: Entry = { bytes: bytes.length, chunks: Math.ceil(bytes.length / chunkBytes) };
    const giveUpAt = steadyNow() + limits.blobMs;
    let whole = false;
    try {
      for (let first = 0; first < entry.chunks; first += aheadMax) {
        if (steadyNow() > giveUpAt) {
          throw new FaultError(fault('queue_unavailable', `GRM_BLOBS ${name}: not stored within ${limits.blobMs} ms`));
        }
        const many = Math.min(aheadMax, entry.chunks - first);
        const puts = await Promise.all(
          Array.from({ length: many }, (_, i) => {
            const at = first + i;
            const chunk = bytes.subarray(at * chunkBytes, (at + 1) * chunkBytes);
            return this.publisher.publish(subjects.blobChunk(name, at), chunk);
          }),
        );
        if (puts.some(({ kind }) => kind === 'full')) return { kind: 'full' };
      }
      const put = await this.publisher.publish(subjects.blobEntry(name), encoder.encode(JSON.stringify(entry)));
      if (put.kind === 'full') return { kind: 'full' };
      whole = true;
      return { kind: 'stored', name };
    } finally {
      // What cannot be removed now goes with the stream's max_age.
      if (!whole) await this.free(name).catch(() => undefined);
    }
  }

  /** undefined when it is no longer kept; throws FaultError(internal) for a blob that was not stored by us. */
  async get(name: string): Promise<Uint8Array | undefined> {
    const entry = await this.entry(name);
    if (!entry) return undefined;
    const bytes = new Uint8Array(entry.bytes);
    for (let first = 0; first < entry.chunks; first += aheadMax) {
      const many = Math.min(aheadMax, entry.chunks - first);
      const chunks = await Promise.all(Array.from({ length: many }, (_, i) => this.chunk(name, first + i)));
      for (const [i, chunk] of chunks.entries()) {
        if (!chunk) return undefined;
        const at = (first + i) * chunkBytes;
        const length = Math.min(chunkBytes, entry.bytes - at);
        if (chunk.length !== length) {
          const words = `GRM_BLOBS ${name}: chunk ${first + i} has ${chunk.length} bytes, not ${length}`;
          throw new FaultError(fault('internal', words));
        }
        bytes.set(chunk, at);
      }
    }
    return bytes;
  }

  /** Not by storing a marker: a full store takes none. */
  async free(name: string): Promise<void> {
    await purge(this.requests, stream, { filter: subjects.blobEntry(name) });
    await purge(this.requests, stream, { filter: filters.blobChunks(name) });
  }

  /** Every blob whose name tells whose it is. */
  async held(): Promise<readonly HeldBlob[]> {
    const rows = await subjectsOf(this.requests, stream, filters.blobs);
    return rows.flatMap(({ subject }) => {
      const name = Buffer.from(subject.slice(filters.blobs.length - 1), 'base64url').toString();
      const [, holds, requestId] = namePattern.exec(name) ?? [];
      return requestId === undefined ? [] : [{ name, holds: holds === 'content' ? 'content' : 'verdict', requestId }];
    });
  }

  /** undefined when it is not there. */
  async info(name: string): Promise<BlobInfo | undefined> {
    return this.entry(name);
  }

  private async entry(name: string): Promise<(BlobInfo & Entry) | undefined> {
    const msg = await this.requests.call(`$JS.API.DIRECT.GET.${stream}.${subjects.blobEntry(name)}`);
    if (msg.data.length === 0) return undefined;
    const { bytes, chunks } = msg.json<Entry>();
    if (!isWhole(bytes, limits.blobBytesMax) || chunks !== Math.ceil(bytes / chunkBytes)) {
      throw new FaultError(fault('internal', `GRM_BLOBS ${name}: an entry of ${bytes} bytes in ${chunks} chunks`));
    }
    return { bytes, chunks, storedAtMs: Date.parse(msg.headers?.get('Nats-Time-Stamp') ?? '') };
  }

  /** undefined when it is gone: its blob was freed meanwhile. */
  private async chunk(name: string, at: number): Promise<Uint8Array | undefined> {
    for (const pauseMs of [0, ...lagPausesMs]) {
      if (pauseMs > 0) await sleep(pauseMs);
      const { data } = await this.requests.call(`$JS.API.DIRECT.GET.${stream}.${subjects.blobChunk(name, at)}`);
      if (data.length > 0) return data;
    }
    return undefined;
  }
}

function isWhole(value: unknown, max: number): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= max;
}
