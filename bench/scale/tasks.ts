// Tasks: the work queue of one stage, as JetStream keeps it: classes in order of urgency, first in first out, what comes back goes first,
// no more deliveries out than a consumer allows. Parked pulls are served in their order, one task each.

import { classes, type Class } from '../../src/grm/query.js';
import { limits } from '../../src/limits.js';
import type { Delivery } from '../../src/queue/queue.js';
import type { Loop } from './loop.js';

interface Task<T> {
  readonly body: T;
  readonly requestId: string;
  readonly class: Class;
  deliveries: number;
  gone: boolean;
}

/** Who holds a task: a worker process, which may die. */
export interface Holder {
  dead: boolean;
  readonly held: Set<{ lost(): void }>;
}

interface Lane<T> {
  waiting: (Task<T> | undefined)[];
  head: number;
  readonly back: Task<T>[];
  out: number;
}

export class Tasks<T extends { readonly requestId: string; readonly class: Class }> {
  readonly #lanes = new Map<Class, Lane<T>>(classes.map((cls) => [cls, { waiting: [], head: 0, back: [], out: 0 }]));
  readonly #ofRequest = new Map<string, Set<Task<T>>>();
  readonly #parked: (() => boolean)[] = [];
  #size = 0;
  #outMax = 0;

  constructor(
    private readonly loop: Loop,
    private readonly onRenewed: () => void,
    /** The last task of a request has left. */
    private readonly onRequestGone: (requestId: string) => void,
    private readonly pendingMax: number = limits.ackPendingMax,
  ) {}

  /** Most deliveries of one class that were out at once. */
  get outMax(): number {
    return this.#outMax;
  }

  count(requestId: string): number {
    return this.#ofRequest.get(requestId)?.size ?? 0;
  }

  /** False when the queue is full. */
  put(body: T): boolean {
    if (this.#size >= limits.workMessagesMax) return false;
    const { requestId } = body;
    const task: Task<T> = { body, requestId, class: body.class, deliveries: 0, gone: false };
    const tasks = this.#ofRequest.get(requestId);
    if (tasks) tasks.add(task);
    else this.#ofRequest.set(requestId, new Set([task]));
    this.#size++;
    this.#lanes.get(task.class)!.waiting.push(task);
    this.#serve();
    return true;
  }

  withdraw(requestId: string): void {
    for (const task of [...(this.#ofRequest.get(requestId) ?? [])]) this.#remove(task);
  }

  /** What is there now, urgent classes first, and how many classes were looked at. */
  take(max: number, holder: Holder): { readonly looks: number; readonly taken: readonly Delivery<T>[] } {
    const taken: Delivery<T>[] = [];
    let looks = 0;
    for (const cls of classes) {
      if (taken.length >= max) break;
      looks++;
      const lane = this.#lanes.get(cls)!;
      for (let task = this.#next(lane); task !== undefined; task = this.#next(lane)) {
        taken.push(this.#hand(task, lane, holder));
        if (taken.length >= max) break;
      }
    }
    return { looks, taken };
  }

  /** `serve` is called when something may be there, until it says that it took it or wants it no more. */
  park(serve: () => boolean): void {
    this.#parked.push(serve);
  }

  #next(lane: Lane<T>): Task<T> | undefined {
    if (lane.out >= this.pendingMax) return undefined;
    for (let task = lane.back.shift(); task !== undefined; task = lane.back.shift()) if (!task.gone) return task;
    while (lane.head < lane.waiting.length) {
      const task = lane.waiting[lane.head];
      lane.waiting[lane.head++] = undefined;
      if (lane.head > 4_096 && lane.head * 2 > lane.waiting.length) {
        lane.waiting = lane.waiting.slice(lane.head);
        lane.head = 0;
      }
      if (task !== undefined && !task.gone) return task;
    }
    return undefined;
  }

  #hand(task: Task<T>, lane: Lane<T>, holder: Holder): Delivery<T> {
    task.deliveries++;
    lane.out++;
    this.#outMax = Math.max(this.#outMax, lane.out);
    const givenAtMs = this.loop.timeMs;
    let renewedAtMs = givenAtMs;
    let open = true;
    const settle = (act: () => void): void => {
      if (!open || holder.dead) return;
      open = false;
      holder.held.delete(held);
      lane.out--;
      act();
      this.#serve();
    };
    const comesBack = (): void => {
      if (task.gone) return;
      lane.back.push(task);
      this.#serve();
    };
    const held = {
      lost: () => {
        open = false;
        this.loop.at(renewedAtMs + limits.ackWaitMs, () => {
          lane.out--;
          comesBack();
          this.#serve();
        });
      },
    };
    holder.held.add(held);
    return {
      task: task.body,
      label: 'simulated',
      requestId: task.requestId,
      class: task.class,
      deliveries: task.deliveries,
      ack: () => settle(() => this.#remove(task)),
      term: () => settle(() => this.#remove(task)),
      nak: (delayMs) => settle(() => this.loop.after(delayMs, comesBack)),
      working: () => {
        if (!open || holder.dead) return;
        renewedAtMs = this.loop.timeMs;
        this.onRenewed();
      },
    };
  }

  #remove(task: Task<T>): void {
    if (task.gone) return;
    task.gone = true;
    this.#size--;
    const tasks = this.#ofRequest.get(task.requestId);
    tasks?.delete(task);
    if (tasks?.size !== 0) return;
    this.#ofRequest.delete(task.requestId);
    this.onRequestGone(task.requestId);
  }

  #serve(): void {
    while (this.#parked.length > 0 && this.#isAny()) {
      const serve = this.#parked.shift()!;
      serve();
    }
  }

  #isAny(): boolean {
    for (const lane of this.#lanes.values()) {
      if (lane.out < this.pendingMax && (lane.back.length > 0 || lane.head < lane.waiting.length)) return true;
    }
    return false;
  }
}
