// Workers that die of what they are given to work on, and come back as another process, as under Kubernetes.

import type { Role, ServiceProcess, TestCluster } from './cluster.js';
import { startEngineProxy, type EngineProxy, type Look } from './engine-proxy.js';

export interface MortalWorkers extends AsyncDisposable {
  /** Resolves when one more serves. */
  start(): Promise<void>;
  deaths(): number;
  /** Of those that live. */
  processes(): readonly ServiceProcess[];
}

/**
 * @param settings of a worker whose engine stands at `url`
 * @param kills whether this request to an engine kills the worker that made it
 * @param look what becomes of the others; default: all pass
 */
export function mortalWorkers(
  cluster: TestCluster,
  role: Role,
  settings: (url: string) => Readonly<Record<string, string>>,
  kills: (body: string) => boolean,
  look: Look = () => 'pass',
): MortalWorkers {
  const proxies: EngineProxy[] = [];
  const living = new Set<ServiceProcess>();
  let deaths = 0;
  let over = false;
  let births = Promise.resolve();
  const start = async (): Promise<void> => {
    const victim: { process?: ServiceProcess } = {};
    let dying = false;
    const proxy = await startEngineProxy(cluster.engine.url, (body, path) => {
      // What else is in its hands dies with it.
      if (dying) return 'break';
      if (over || !kills(body)) return look(body, path);
      dying = true;
      deaths += 1;
      victim.process?.kill('SIGKILL');
      if (victim.process) living.delete(victim.process);
      births = births.then(start);
      return 'break';
    });
    proxies.push(proxy);
    victim.process = await cluster.start(role, settings(proxy.url));
    living.add(victim.process);
  };
  return {
    start,
    deaths: () => deaths,
    processes: () => [...living],
    async [Symbol.asyncDispose]() {
      over = true;
      await births;
      for (const proxy of proxies) await proxy[Symbol.asyncDispose]();
    },
  };
}
