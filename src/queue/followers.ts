// Followers: who hears of which request. One subscription serves all requests of this process and is there while anybody follows.
//
// Not one per request: each subscription with a wildcard makes nats-server look through its cache of subjects, when it comes and when it
// goes. The price is that a process hears of other processes' requests too; it drops those unread.

import type { Msg, Subscription } from '@nats-io/transport-node';
import type { Link } from './link.js';
import type { Follower, Following } from './queue.js';
import { filters } from './subjects.js';

export type Heard = 'res' | 'mres' | 'fin';

/** Reads a notice for one follower. */
type Deliver = (kind: Heard, requestId: string, msg: Msg, followers: Iterable<Follower>) => void;

const kinds: ReadonlySet<string> = new Set<Heard>(['res', 'mres', 'fin']);
const kindAt = filters.out.indexOf('*');

export class Followers {
  private readonly following = new Map<string, Set<Follower>>();
  private subscription: Subscription | undefined;

  constructor(
    private readonly link: Link,
    private readonly deliver: Deliver,
  ) {}

  follow(requestId: string, follower: Follower): Following {
    const those = this.following.get(requestId) ?? new Set();
    this.following.set(requestId, those.add(follower));
    this.subscription ??= this.link.subscribe(filters.out, (msg) => {
      this.hear(msg);
    });
    return {
      close: () => {
        those.delete(follower);
        if (those.size > 0 || this.following.get(requestId) !== those) return;
        this.following.delete(requestId);
        if (this.following.size > 0) return;
        this.subscription?.unsubscribe();
        this.subscription = undefined;
      },
    };
  }

  /** `grm.out.<kind>.<request>.<sample|verdict>` */
  private hear(msg: Msg): void {
    const { subject } = msg;
    const kindEnd = subject.indexOf('.', kindAt);
    const requestId = subject.slice(kindEnd + 1, subject.indexOf('.', kindEnd + 1));
    const those = this.following.get(requestId);
    const kind = subject.slice(kindAt, kindEnd);
    if (those && isHeard(kind)) this.deliver(kind, requestId, msg, those);
  }
}

function isHeard(kind: string): kind is Heard {
  return kinds.has(kind);
}
