// Member: one process of a chaos run's cluster, with what stands between it and the others, through all its deaths.
//
//   MB1. Whoever ends it says so first: a process that ends by itself is told to `onOddEnd`, and started again.
//   MB2. At most one process runs at a time; starting one that runs or starts is no second start.

import { setTimeout as sleep } from 'node:timers/promises';
import { startService, type Role, type ServiceProcess } from '../support/cluster.js';
import type { EngineProxy } from '../support/engine-proxy.js';
import type { Namespace } from '../support/namespace.js';
import type { TcpProxy } from '../support/tcp-proxy.js';

export interface MemberParts {
  /** "worker 1" */
  readonly name: string;
  readonly role: Role;
  /** Its ways to the nats-servers. */
  readonly links: readonly TcpProxy[];
  /** Callers' way to a coordinator. */
  readonly door?: TcpProxy;
  /** A worker's way to its engine. */
  readonly engine?: EngineProxy;
  /** Where it runs; undefined: where the test does. */
  readonly namespace?: Namespace;
  readonly env: Readonly<Record<string, string>>;
  readonly onOddEnd: (member: Member, how: number | string, log: string) => void;
}

/** Starts that may fail in a row, because NATS is away while the process waits for it; then the run has failed. */
const startTriesMax = 8;

export class Member {
  readonly #parts: MemberParts;
  #process: ServiceProcess | undefined;
  #starting: Promise<void> | undefined;
  #isClosed = false;
  /** Processes that were ready so far. */
  starts = 0;
  /** A fault is at it: another one waits for its turn elsewhere. */
  isStruck = false;
  /** Until it settles, calls to the engine get no answer, and then their connections break. */
  hang: Promise<void> | undefined;

  constructor(parts: MemberParts) {
    this.#parts = parts;
  }

  get name(): string {
    return this.#parts.name;
  }

  get role(): Role {
    return this.#parts.role;
  }

  get links(): readonly TcpProxy[] {
    return this.#parts.links;
  }

  get door(): TcpProxy | undefined {
    return this.#parts.door;
  }

  get namespace(): Namespace | undefined {
    return this.#parts.namespace;
  }

  /** The process that runs now. */
  get process(): ServiceProcess | undefined {
    return this.#process;
  }

  /** Resolves when it is ready. Rejects when it never gets ready. */
  start(): Promise<void> {
    return (this.#starting ??= this.#start().finally(() => (this.#starting = undefined)));
  }

  async #start(): Promise<void> {
    const { role, env, door, namespace } = this.#parts;
    for (let tries = 1; !this.#process && !this.#isClosed; tries++) {
      try {
        this.#hold(await startService(role, env, namespace?.enter));
      } catch (error) {
        if (tries >= startTriesMax) throw error;
        await sleep(500);
      }
    }
    if (this.#process?.grpc) door?.aim(this.#process.grpc);
  }

  #hold(process: ServiceProcess): void {
    if (this.#isClosed) {
      process.kill('SIGKILL');
      return;
    }
    this.#process = process;
    this.starts += 1;
    void process.ended.then((how) => {
      if (this.#process !== process) return;
      this.#process = undefined;
      this.#parts.onOddEnd(this, how, process.log());
    });
  }

  /** Ends the process that runs now, and says how it ended; undefined when none runs. A frozen one is thawed to hear SIGTERM. */
  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<number | string | undefined> {
    const process = this.#process;
    if (!process) return undefined;
    this.#process = undefined;
    process.kill(signal);
    if (signal === 'SIGTERM') process.kill('SIGCONT');
    return process.ended;
  }

  freeze(): void {
    this.#process?.kill('SIGSTOP');
  }

  thaw(): void {
    this.#process?.kill('SIGCONT');
  }

  /** Nothing is wrong with it any more, and it runs. */
  async heal(): Promise<void> {
    this.thaw();
    await this.namespace?.join();
    for (const proxy of [...this.links, ...(this.door ? [this.door] : [])]) proxy.set({ kind: 'clear' });
    await this.start();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.end('SIGKILL');
    await this.#starting?.catch(() => undefined);
    const { links, door, engine } = this.#parts;
    for (const proxy of links) await proxy[Symbol.asyncDispose]();
    await door?.[Symbol.asyncDispose]();
    await engine?.[Symbol.asyncDispose]();
  }
}
