// Blobs: what is too big for one NATS message, in the object store by the hash of its bytes. The same content is stored once.

import { Objm, type ObjectStore } from '@nats-io/obj';
import { createHash } from 'node:crypto';
import { fault, FaultError } from '../fault.js';
import { limits } from '../limits.js';
import type { JetStreamClient } from '@nats-io/jetstream';
import type { Link } from './link.js';

export class Blobs {
  private constructor(
    private readonly link: Link,
    private readonly store: ObjectStore,
    private readonly keepMs: number,
  ) {}

  /** `keepMs`: a blob older than this is stored anew, because its stream forgets it after twice that time. */
  static async open(link: Link, js: JetStreamClient, keepMs: number): Promise<Blobs> {
    return new Blobs(link, await new Objm(js).open('GRM_BLOBS', { check: false }), keepMs);
  }

  /** Resolves to the blob's name once it is stored. */
  async put(bytes: Uint8Array): Promise<string> {
    const name = createHash('sha256').update(bytes).digest('hex');
    await this.patiently(name, async () => {
      const info = await this.store.info(name);
      const ageMs = info ? Date.now() - Date.parse(info.mtime) : Infinity;
      if (info && !info.deleted && ageMs < this.keepMs) return;
      await this.store.putBlob({ name }, bytes);
    });
    return name;
  }

  /** undefined when it is no longer kept. */
  async get(name: string): Promise<Uint8Array | undefined> {
    return (await this.patiently(name, () => this.store.getBlob(name))) ?? undefined;
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
