// Who is in a virtual cluster, as leases would tell it: a node that is silent (dead, or standing still) for `detectMs` counts as dead, and
// is alive again when it goes on.

import type { Members } from '../../src/coordinator/context.js';
import { askWhoIsAt, broadcastCancel, broadcastWanted } from '../../src/actor/handle.js';
import type { Clock } from '../../src/process/clock.js';
import type { Credit } from '../../src/worker/credit.js';
import { scriptedJudge, scriptedMetaJudge } from './scripted-engine.js';
import type { MemoryQueue } from './memory-queue.js';
import type { VirtualProcess } from './virtual-process.js';

export const scriptedJudges: ReturnType<Members['judges']> = { models: [scriptedJudge], meta: [scriptedMetaJudge] };

export type NodeRole = 'coordinator' | 'grm' | 'meta';

export interface Member {
  readonly role: NodeRole;
  readonly process: VirtualProcess;
  /** Of workers. */
  readonly room?: { readonly slots: number; readonly credit: Credit };
  /** Called when somebody comes or goes. */
  readonly onChange?: () => void;
}

export class VirtualMembers {
  /** While false nobody can read who is alive. */
  known = true;
  /** What judges in the pools; the test changes it. */
  judges: ReturnType<Members['judges']> = scriptedJudges;
  readonly #members = new Map<string, Member>();

  constructor(
    private readonly clock: Clock,
    private readonly detectMs: number,
  ) {}

  join(id: string, member: Member): void {
    this.#members.set(id, member);
    this.#changed();
  }

  /** It has said so itself. */
  leave(id: string): void {
    this.#members.delete(id);
    this.#changed();
  }

  /** It fell silent now. */
  silent(id: string): void {
    this.clock.after(this.detectMs, () => {
      const member = this.#members.get(id);
      if (!member || member.process.silentSinceMs === undefined) return;
      if (member.process.state === 'dead') this.#members.delete(id);
      this.#changed();
    });
  }

  /** It speaks again. */
  back(): void {
    this.#changed();
  }

  isAlive(id: string): boolean {
    const silentSinceMs = this.#members.get(id)?.process.silentSinceMs;
    return this.#members.has(id) && (silentSinceMs === undefined || this.clock.now() - silentSinceMs < this.detectMs);
  }

  serving(role: NodeRole): string[] {
    return [...this.#members].flatMap(([id, member]) => (member.role === role && this.isAlive(id) ? [id] : []));
  }

  /** What one coordinator sees. */
  seenBy(self: string, queue: MemoryQueue): Members {
    const serving = (role: NodeRole): string[] => this.serving(role);
    return {
      alive: (id) => (id === self ? true : this.known ? this.isAlive(id) : 'unknown'),
      coordinators: () => (this.known ? [...new Set([...serving('coordinator'), self])] : [self]),
      metaExpected: () => !this.known || serving('meta').length > 0,
      metaServing: () => (this.known ? serving('meta').length : 'unknown'),
      judges: () => this.judges,
      fleet: () => {
        const rooms = serving('grm').flatMap((id) => this.#members.get(id)?.room ?? []);
        const slots = rooms.reduce((sum, room) => sum + room.slots, 0);
        const taken = rooms.reduce((sum, room) => sum + room.credit.taken, 0);
        return { engines: rooms.length, slots, busyRatio: slots === 0 ? 1 : taken / slots };
      },
      outage: () => undefined,
      want: (requestId, forMs) => broadcastWanted(queue.control, requestId, forMs),
      isAt: (requestId, task) => askWhoIsAt(queue.control, requestId, task),
      cancel: (requestId, run) => broadcastCancel(queue.control, requestId, run),
    };
  }

  #changed(): void {
    for (const { onChange } of this.#members.values()) onChange?.();
  }
}
