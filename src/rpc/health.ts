// Health: grpc.health.v1 for the whole server ('') and for each service. Reasons not to serve are a set: only when the last is gone
// does the server serve again.

import type { Server } from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';

/** draining: for good; nats: while the queue is away; starting: until the process is ready; clock: while this machine's is too far off. */
export type NotServing = 'draining' | 'nats' | 'starting' | 'clock';

const rewardNames = ['', 'grm.v1.RewardService'];
const clusterName = 'grm.v1.ClusterService';

export class Health {
  readonly #reasons = new Set<NotServing>();
  readonly #health = new HealthImplementation();
  #told: boolean | undefined;

  constructor() {
    this.#tell();
    this.#health.setStatus(clusterName, 'SERVING');
  }

  addTo(server: Server): void {
    this.#health.addToServer(server);
  }

  get serving(): boolean {
    return this.#reasons.size === 0;
  }

  set(reason: NotServing, holds: boolean): void {
    if (holds) this.#reasons.add(reason);
    else this.#reasons.delete(reason);
    this.#tell();
  }

  /** The server closes: no service is left. */
  closing(): void {
    this.set('draining', true);
    this.#health.setStatus(clusterName, 'NOT_SERVING');
  }

  #tell(): void {
    if (this.#told === this.serving) return;
    this.#told = this.serving;
    for (const name of rewardNames) this.#health.setStatus(name, this.serving ? 'SERVING' : 'NOT_SERVING');
  }
}
