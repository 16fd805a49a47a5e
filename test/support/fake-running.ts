// A resource for actors, under the test's hand: it dies, falls ill, refuses to start or to close when told, and counts what happens to it.

import type { ActorSpec, Running } from '../../src/actor/actor.js';
import type { Health, OutOfService } from '../../src/engine/engine.js';

export interface TestRunning extends Running {
  readonly number: number;
  readonly closes: number;
  die(reason: string): void;
}

export interface TestSpec extends ActorSpec<TestRunning> {
  /** How the next starts go; default `up`. `stuck` waits for the signal, `deaf` ignores it until `release`, `late` comes up although told to stop. */
  next: ('up' | 'fail' | 'stuck' | 'deaf' | 'late')[];
  health: Health | 'silent' | 'throws';
  /** What it says of its service. */
  out: OutOfService | undefined;
  closing: 'well' | 'stuck' | 'throws';
  /** Everything that came up, in order. */
  readonly made: TestRunning[];
  readonly starts: number;
  /** Starts and resources that exist now, and the most there ever were (A1). */
  readonly existing: number;
  readonly existingMost: number;
  /** Lets `deaf` starts come up. */
  release(): void;
}

export function testSpec(
  more: Partial<Pick<TestSpec, 'name' | 'kind' | 'restartsMax' | 'concurrencyMax'>> = {},
): TestSpec {
  const deaf: (() => void)[] = [];
  let existing = 0;
  let most = 0;
  let starts = 0;
  const begin = (): void => {
    existing += 1;
    starts += 1;
    most = Math.max(most, existing);
  };
  const spec: TestSpec = {
    kind: 'engine',
    name: 'engine0',
    gpus: [0],
    concurrencyMax: 8,
    restartsMax: 3,
    next: [],
    health: { kind: 'ok' },
    out: undefined,
    closing: 'well',
    made: [],
    get starts() {
      return starts;
    },
    get existing() {
      return existing;
    },
    get existingMost() {
      return most;
    },
    release: () => {
      for (const go of deaf.splice(0)) go();
    },
    async start(signal) {
      begin();
      const how = spec.next.shift() ?? 'up';
      if (how === 'deaf') await new Promise<void>((resolve) => deaf.push(resolve));
      if (how === 'stuck' || how === 'late')
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
      if (how === 'fail' || how === 'stuck') {
        existing -= 1;
        throw new Error(how === 'fail' ? 'no such model' : 'stopped');
      }
      return resource();
    },
    ...more,
  };

  function resource(): TestRunning {
    let closes = 0;
    let die: (reason: string) => void = () => undefined;
    const died = new Promise<string>((resolve) => (die = resolve));
    const made: TestRunning = {
      number: spec.made.length,
      model: 'test-model',
      description: 'test engine',
      fake: true,
      get closes() {
        return closes;
      },
      running: () => 2,
      outOfService: () => spec.out,
      health() {
        if (spec.health === 'throws') return Promise.reject(new Error('connection refused'));
        return spec.health === 'silent' ? new Promise<Health>(() => undefined) : Promise.resolve(spec.health);
      },
      died,
      die: (reason) => die(reason),
      async close() {
        await Promise.resolve();
        closes += 1;
        if (spec.closing === 'stuck') await new Promise<void>(() => undefined);
        existing -= 1;
        if (spec.closing === 'throws') throw new Error('close failed');
      },
    };
    spec.made.push(made);
    return made;
  }
  return spec;
}
