// Turns: a dispatcher that tells when a shard begins to wait and when it goes out, so that its fairness can be judged from outside.

import type { Class } from '../../src/grm/query.js';
import { Dispatcher, type Account, type DispatchWeights } from '../../src/coordinator/dispatch.js';

export interface Turn {
  readonly how: 'waits' | 'sent' | 'closed';
  readonly flow: string;
  readonly weight: number;
  readonly cost: number;
}

export class WatchedDispatcher extends Dispatcher {
  constructor(
    windowSamples: number,
    private readonly shares: DispatchWeights,
    private readonly tell: (turn: Turn) => void,
  ) {
    super(windowSamples, shares);
  }

  override open(tenant: string, klass: Class): Account {
    const account = super.open(tenant, klass);
    const flow = `${klass}/${tenant}`;
    const weight = this.shares.class[klass] * (this.shares.tenant[tenant] ?? 1);
    let waiting = 0;
    return {
      settle: (samples) => account.settle(samples),
      submit: (cost, send) => {
        waiting += cost;
        this.tell({ how: 'waits', flow, weight, cost });
        account.submit(cost, () => {
          waiting -= cost;
          this.tell({ how: 'sent', flow, weight, cost });
          send();
        });
      },
      close: () => {
        if (waiting > 0) this.tell({ how: 'closed', flow, weight, cost: waiting });
        waiting = 0;
        account.close();
      },
    };
  }
}
