// What a worker looks up by name, kept while it is likely to be asked for again: requests' content and templates.

import { LRUCache } from 'lru-cache';
import { contentChars, type Content } from '../grm/query.js';
import { parseTemplate, type Template } from '../grm/prompt.js';
import { limits } from '../limits.js';
import type { Ledger } from '../queue/queue.js';

export interface Library {
  /** undefined when the request was cancelled or is no longer kept. `nonce` tells it from one with other content under the same id. */
  content(requestId: string, nonce: string): Promise<Content | undefined>;
  /** undefined when no coordinator published it. */
  template(hash: string): Promise<Template | undefined>;
}

const templatesMax = 64;

export function openLibrary(ledger: Ledger): Library {
  const contents = new LRUCache<string, Content>({
    maxSize: limits.contentCacheBytesMax,
    sizeCalculation: (content) => 1_024 + 2 * contentChars(content),
  });
  const templates = new LRUCache<string, Template>({ max: templatesMax });
  return {
    async content(requestId, nonce) {
      const key = `${requestId}.${nonce}`;
      const cached = contents.get(key);
      if (cached) return cached;
      const record = await ledger.record(requestId);
      if (record?.nonce !== nonce) return undefined;
      contents.set(key, record.content);
      return record.content;
    },
    async template(hash) {
      const cached = templates.get(hash);
      if (cached) return cached;
      const text = await ledger.template(hash);
      if (text === undefined) return undefined;
      const parsed = parseTemplate(text);
      if (parsed.kind !== 'ok') return undefined;
      templates.set(hash, parsed.template);
      return parsed.template;
    },
  };
}
