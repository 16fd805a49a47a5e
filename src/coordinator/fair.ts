// Fair: who goes next into the work queue. Start-time fair queueing over flows (class x tenant), after Goyal, Vin and Cheng (1996):
// each item gets a start tag max(virtual time, its flow's last finish tag) and its flow's finish tag grows by cost / weight;
// the smallest start tag goes first. A flow that was idle gets no credit for it, and no flow waits for ever.
//
//   F1. Backlogged flows are served in proportion to their weights.
//   F2. Items of one flow leave in order.

import { limits } from '../limits.js';

interface Item<T> {
  readonly value: T;
  readonly cost: number;
  readonly startTag: number;
}

interface Flow<T> {
  finishTag: number;
  /** items[head..] wait, what is before is undefined; the front is cut off now and then, because shift() on a long array copies it. */
  items: (Item<T> | undefined)[];
  head: number;
}

export class FairQueue<T> {
  readonly #flows = new Map<string, Flow<T>>();
  #virtualTime = 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Adds one item of `cost` (samples) to a flow of `weight` > 0. Beyond limits.tenantsMax flows, new ones share one. */
  push(flowName: string, weight: number, cost: number, value: T): void {
    const name = this.#flows.has(flowName) || this.#flows.size < limits.tenantsMax ? flowName : '(others)';
    let flow = this.#flows.get(name);
    if (!flow) this.#flows.set(name, (flow = { finishTag: 0, items: [], head: 0 }));
    const startTag = Math.max(this.#virtualTime, flow.finishTag);
    flow.finishTag = startTag + cost / weight;
    flow.items.push({ value, cost, startTag });
    this.#size++;
  }

  /** The item that is due, or undefined when empty. */
  pop(): T | undefined {
    let due: Flow<T> | undefined;
    let dueHead: Item<T> | undefined;
    for (const [name, flow] of this.#flows) {
      const head = flow.items[flow.head];
      if (!head) {
        if (flow.finishTag <= this.#virtualTime) this.#flows.delete(name);
      } else if (!dueHead || head.startTag < dueHead.startTag) {
        due = flow;
        dueHead = head;
      }
    }
    if (!due || !dueHead) return undefined;
    due.items[due.head] = undefined;
    due.head++;
    if (due.head > 1024 && due.head * 2 > due.items.length) {
      due.items = due.items.slice(due.head);
      due.head = 0;
    }
    this.#virtualTime = dueHead.startTag;
    this.#size--;
    return dueHead.value;
  }

  /** Removes what `keep` refuses; the tags of the rest stay, so that nobody gains or loses a turn. */
  prune(keep: (value: T) => boolean): void {
    for (const flow of this.#flows.values()) {
      const kept = flow.items.filter((item) => item !== undefined && keep(item.value));
      this.#size -= flow.items.length - flow.head - kept.length;
      flow.items = kept;
      flow.head = 0;
    }
  }
}
