// Fairness of the dispatchers, judged from the outside. Start-time fair queueing (Goyal, Vin and Cheng 1996, theorem 1) keeps two flows that
// both wait all the time within one largest item of each: |W1 / w1 - W2 / w2| <= c1 / w1 + c2 / w2.

import type { Entry } from './history.js';

interface Flow {
  readonly weight: number;
  waiting: number;
  costMax: number;
  /** What went out, by weight. */
  served: number;
  /** A request of it was given up while its shards waited: what it then lost of its share cannot be told from outside. */
  tainted: boolean;
}

export function fairness(entries: readonly Entry[]): readonly string[] {
  const complaints = new Set<string>();
  const nodes = new Map<string, Map<string, Flow>>();
  /** By pair of flows: the range of served difference since both wait. */
  const ranges = new Map<string, { min: number; max: number }>();
  for (const entry of entries) {
    if (entry.kind !== 'turn') continue;
    const flows = nodes.get(entry.node) ?? new Map<string, Flow>();
    nodes.set(entry.node, flows);
    const fresh: Flow = { weight: entry.weight, waiting: 0, costMax: 0, served: 0, tainted: false };
    const flow = flows.get(entry.flow) ?? fresh;
    flows.set(entry.flow, flow);
    if (entry.how === 'closed') flow.tainted = true;
    if (entry.how === 'waits') flow.waiting += entry.cost;
    else flow.waiting -= entry.cost;
    flow.costMax = Math.max(flow.costMax, entry.cost);
    if (entry.how === 'sent') flow.served += entry.cost / flow.weight;
    for (const [name, other] of flows) {
      if (other === flow) continue;
      const pair = [entry.node, ...[entry.flow, name].sort()].join(' ');
      // The item that left last was in the queue until then: it counts while both still wait, or did just before.
      if (flow.waiting === 0 || other.waiting === 0 || flow.tainted || other.tainted) {
        ranges.delete(pair);
        continue;
      }
      const difference = entry.flow < name ? flow.served - other.served : other.served - flow.served;
      const range = ranges.get(pair) ?? { min: difference, max: difference };
      range.min = Math.min(range.min, difference);
      range.max = Math.max(range.max, difference);
      ranges.set(pair, range);
      const allowed = flow.costMax / flow.weight + other.costMax / other.weight;
      if (range.max - range.min > allowed + 1e-9) {
        complaints.add(`${entry.node} does not share by weight between ${entry.flow} and ${name}`);
      }
    }
  }
  return [...complaints];
}
