// What the queue tells its owner, for logs and metrics.

import type { Swept } from './queue.js';

export type QueueEvent =
  | { readonly kind: 'connection'; readonly state: 'connected' | 'disconnected'; readonly reason: string }
  /** A stream or consumer was made, changed to what the table asks, made anew, or given to another server to lead. */
  | { readonly kind: 'topology'; readonly what: string; readonly action: 'created' | 'updated' | 'recreated' | 'moved' }
  | { readonly kind: 'drift'; readonly words: string }
  /** A stream, or consumers of one, are gone though nobody of ours removes them: they are made anew, and what was in them is lost. */
  | { readonly kind: 'stream_lost'; readonly stream: string }
  /** Why a stream cannot be worked with; told once for as long as it is so. */
  | { readonly kind: 'stream_trouble'; readonly words: string }
  | { readonly kind: 'waiting'; readonly words: string }
  /** The server refuses this user a subject. */
  | { readonly kind: 'denied'; readonly operation: 'publish' | 'subscription'; readonly subject: string }
  /** A publish that has to be repeated. */
  | { readonly kind: 'publish_retry'; readonly subject: string; readonly reason: string; readonly tries: number }
  /** Bytes that do not decode: an older or broken writer. */
  | { readonly kind: 'undecodable'; readonly label: string; readonly reason: string }
  | { readonly kind: 'pull_trouble'; readonly stream: string; readonly pool: string; readonly reason: string }
  | ({ readonly kind: 'swept' } & Swept)
  | { readonly kind: 'trimmed'; readonly stream: string; readonly messages: number };

export type OnQueueEvent = (event: QueueEvent) => void;
