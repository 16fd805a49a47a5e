// Blobs: what is too big for one NATS message, in the object store.
//
//   B1. A blob belongs to one message of one request, and no two writers share one. So whoever knows that the message is gone, or that it
//       was never stored, may free its blob, whatever else is accepted meanwhile.

import { JetStreamApiError, type JetStreamClient } from '@nats-io/jetstream';
import { Objm, type ObjectStore } from '@nats-io/obj';
import { randomUUID } from 'node:crypto';
import { fault, FaultError } from '../fault.js';
import { limits } from '../limits.js';
import { purge, subjectsOf } from './api.js';
import type { Link } from './link.js';
import { saysFull } from './publisher.js';
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

const stream = 'OBJ_GRM_BLOBS';
const namePattern = /^(content|verdict)\.([A-Za-z0-9_-]+)\.[0-9a-f-]+$/;

export class Blobs {
  private constructor(
    private readonly link: Link,
    private readonly requests: Requests,
    private readonly store: ObjectStore,
  ) {}

  static async open(link: Link, requests: Requests, js: JetStreamClient): Promise<Blobs> {
    return new Blobs(link, requests, await new Objm(js).open('GRM_BLOBS', { check: false }));
  }

  /** Resolves to the blob's name once it is stored: a new one at each call (B1). */
  async put(holds: BlobKind, requestId: string, bytes: Uint8Array): Promise<BlobPut> {
    const name = `${holds}.${token(requestId, 'request')}.${randomUUID()}`;
    return this.patiently<BlobPut>(name, async () => {
      try {
        await this.store.putBlob({ name }, bytes);
        return { kind: 'stored', name };
      } catch (error) {
        if (error instanceof JetStreamApiError && saysFull(error.code)) return { kind: 'full' };
        throw error;
      }
    });
  }

  /** undefined when it is no longer kept. */
  async get(name: string): Promise<Uint8Array | undefined> {
    return (await this.patiently(name, () => this.store.getBlob(name))) ?? undefined;
  }

  /** Not by the library's delete: that stores a message, and a full store takes none. */
  async free(name: string): Promise<void> {
    const found = await this.entry(name);
    if (!found) return;
    await purge(this.requests, stream, { filter: subjects.blobEntry(name) });
    await purge(this.requests, stream, { filter: subjects.blobChunks(found.nuid) });
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

  private async entry(name: string): Promise<(BlobInfo & { readonly nuid: string }) | undefined> {
    const msg = await this.requests.call(`$JS.API.DIRECT.GET.${stream}.${subjects.blobEntry(name)}`);
    if (msg.data.length === 0) return undefined;
    const { nuid, size } = msg.json<{ readonly nuid: string; readonly size: number }>();
    return { nuid, bytes: size, storedAtMs: Date.parse(msg.headers?.get('Nats-Time-Stamp') ?? '') };
  }

  private async patiently<T>(name: string, act: () => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await within(limits.blobMs, act());
      } catch (error) {
        const words = error instanceof Error ? error.message : String(error);
        if (tries >= limits.queueCallTriesMax) {
          throw new FaultError(fault('queue_unavailable', `GRM_BLOBS ${name}: ${words}`));
        }
        await this.link.whenConnected(limits.queueCallMs);
      }
    }
  }
}

/** The library's reads have no time limit of their own. */
async function within<T>(ms: number, act: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`no answer within ${ms} ms`));
    }, ms);
  });
  return Promise.race([act, late]).finally(() => {
    clearTimeout(timer);
  });
}
