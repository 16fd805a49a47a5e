// The coordinator process: wiring only.

import { Admission } from '../../src/coordinator/admission.js';
import type { CoordinatorContext, Members } from '../../src/coordinator/context.js';
import type { ScoreInput, ScoreOutcome } from '../../src/coordinator/coordinator.js';
import { Dispatcher } from '../../src/coordinator/dispatch.js';
import { Hedging } from '../../src/coordinator/hedging.js';
import { Room, usedRatio, type OpenWork } from '../../src/coordinator/room.js';
import { openCoordinator, type RunningCoordinator } from '../../src/coordinator/service.js';
import { chosen } from '../../src/coordinator/takeover.js';
import { windowOf } from '../../src/coordinator/window.js';
import { askEach, askWhoIsAt, broadcastCancel, broadcastWanted, listenWanted } from '../../src/actor/handle.js';
import { openNode, type Node } from '../../src/actor/node.js';
import { openPoolJudges } from '../../src/actor/pool-judges.js';
import { openRegistry, type Registry } from '../../src/actor/registry.js';
import { fault } from '../../src/fault.js';
import { limits } from '../../src/limits.js';
import type { Clock } from '../../src/process/clock.js';
import { environment } from '../../src/process/environment.js';
import type { Config } from '../../src/process/schema.js';
import { serveRpc } from '../../src/rpc/server.js';
import { standingOf } from '../clock.js';
import { openHost, type Host } from '../host.js';
import { runService } from '../run.js';
import { loadGrmTemplates } from '../../src/process/templates.js';
import { clusterControl } from './cluster.js';
import { failpointOf } from './failpoint.js';

/** Of fewer samples a percentile says little. */
const hedgeObservedMin = 64;

await runService('coordinator', openCoordinatorProcess);

async function openCoordinatorProcess(config: Config) {
  const failpoint = environment().GRM_FAILPOINT;
  const passes = failpointOf(failpoint, () => process.kill(process.pid, 'SIGKILL'));
  const templates = await loadGrmTemplates(config);
  const host = await openHost('coordinator', config);
  const { queue, events, clock, hostClock } = host;
  const settings = config.coordinator;
  for (const { hash, text } of templates) await queue.ledger.putTemplate(hash, text);

  const registry = await openRegistry({ control: queue.control, clock, events });
  const pools = {
    grm: { role: 'grm-worker', pool: settings.pool },
    meta: { role: 'meta-worker', pool: settings.metaPool },
  };
  const judges = await openPoolJudges({
    registry,
    control: queue.control,
    clock,
    events,
    pools: Object.values(pools),
  });
  let coordinator: RunningCoordinator | undefined;
  const node = await openNode({
    role: 'coordinator',
    pool: settings.pool,
    host: host.hostName,
    pid: process.pid,
    version: host.version,
    gpus: 0,
    address: config.grpc.listen,
    control: queue.control,
    events,
    clock,
    load: () => ({
      slots: settings.samplesInFlightMax,
      running: coordinator?.load().samplesInFlight ?? 0,
      done: 0,
      ratePerSecond: 0,
    }),
    busy: () => {
      const { requestIds, oldestOpenAtMs } = coordinator?.busy() ?? { requestIds: [], oldestOpenAtMs: clock.now() };
      return { requests: requestIds, ...(requestIds.length > 0 && { oldestOpenAtMs }) };
    },
    standing: () => ({ ...standingOf(hostClock), expired: 0 }),
    refusesDrain: 'a coordinator is drained by stopping its process (SIGTERM)',
    handlers: {
      drain: () => Promise.resolve(),
      resume: () => Promise.resolve(),
      cancel: (requestId) => coordinator?.cancel(requestId) ?? Promise.resolve(false),
      setSlots: () => Promise.resolve({ kind: 'refused', reason: 'a coordinator has no engine slots' }),
    },
  });

  if (passes) host.log.warn('this process is going to die: GRM_FAILPOINT is set', { failpoint });
  const members: Members = {
    ...membersOf(registry, node, host),
    judges: () => ({ models: judges.models(pools.grm), meta: judges.models(pools.meta) }),
  };
  const admission = new Admission(
    {
      requestsMax: settings.requestsInFlightMax,
      samplesMax: settings.samplesInFlightMax,
      bytesMax: settings.bytesInFlightMax,
    },
    clock,
    settings.weights,
  );
  const room = new Room(queue.storage, openWorkOf(admission, registry, node, clock), () => clock.steadyNow());
  const context: CoordinatorContext = {
    settings: { nodeId: node.id, ...settings, defaults: config.defaults, defaultClass: config.defaults.class },
    ledger: queue.ledger,
    work: queue.work,
    members,
    storage: queue.storage,
    admission,
    room,
    dispatcher: new Dispatcher(() => windowOf(settings, members), settings.weights),
    hedging: new Hedging({ ...settings.hedge, observedMin: hedgeObservedMin }),
    events,
    clock,
    template: (name) => (name === undefined ? templates[0] : templates.find((each) => each.name === name)),
    templateNames: templates.map(({ name }) => name),
    ...(passes && { passes }),
  };
  const running = (coordinator = openCoordinator(context, queue.dead));
  const unlisten = await listenWanted(queue.control, (requestId, forMs) => running.wanted(requestId, forMs));
  const endWatch = watchCoordinators(host, registry, running);
  queue.onConnection((state) => {
    if (state === 'connected') running.reconnected();
  });
  queue.storage.onLook(({ lost }) => {
    if (!lost.includes('KV_GRM_TEMPLATES')) return;
    Promise.all(templates.map(({ hash, text }) => queue.ledger.putTemplate(hash, text))).catch((error: unknown) =>
      events.emit('trouble', { where: 'templates', error }),
    );
  });

  const rpc = await serveRpc({
    listen: config.grpc.listen,
    ...(config.grpc.tls && { tls: config.grpc.tls }),
    allowInsecure: config.grpc.allowInsecure,
    tokens: config.grpc.tokens.map(({ name, token, tenants }) => ({
      name,
      token: token.reveal(),
      ...(tenants && { tenants }),
    })),
    maxConnectionAgeMs: config.grpc.maxConnectionAgeMs,
    clock,
    coordinator: {
      ...running,
      score: (input, caller) => withRightClock(host, input, () => running.score(input, caller)),
      cancel: (requestId) => cancelAnywhere(requestId, running, registry, node, host),
    },
    cluster: clusterControl(host, registry, running, () =>
      Object.values(pools).map((each) => ({ ...each, models: [...judges.models(each)] })),
    ),
    events,
  });
  const tellClock = (): void => rpc.setNotServing('clock', hostClock.refusal() !== undefined);
  hostClock.onRefusal(() => {
    tellClock();
    node.tell();
  });
  tellClock();
  const endSweeps = startJanitor(host, registry, node, running, room);

  host.expose({
    sources: {
      load: () => running.load(),
      actors: () => [],
      connected: () => queue.connected(),
      queueDepths: () => queue.work.depths(),
      deadShards: () => queue.dead.count(),
      streams: () => queue.storage.states().map((state) => ({ ...state, usedRatio: usedRatio(state) })),
    },
    ready: () => [
      ...(queue.connected() ? [] : ['NATS does not answer']),
      ...queue.storage.troubles(),
      ...(node.draining() ? ['draining'] : []),
      ...[hostClock.refusal() ?? []].flat(),
    ],
    debugState: () => ({
      node: node.describe(),
      load: running.load(),
      nodes: registry.nodes(),
      judges: members.judges(),
      drift: queue.drift,
      streams: queue.storage.states(),
      nats: queue.serverVersion,
    }),
  });
  host.log.info('coordinator serves', {
    grpc: rpc.address,
    http: host.httpAddress,
    node: node.id,
    nats: queue.serverVersion,
  });

  return {
    ready: { grpc: rpc.address, http: host.httpAddress, node: node.id },
    log: host.log,
    onServing(tell: (serving: { workers: number; metaWorkers: number }) => void) {
      const now = () => ({
        workers: registry.serving('grm-worker', settings.pool),
        metaWorkers: registry.serving('meta-worker', settings.metaPool),
      });
      tell(now());
      registry.onChange(() => tell(now()));
    },
    closeMs: settings.drainGraceMs + 10_000,
    async close() {
      rpc.setNotServing('draining', true);
      // The lease says so: no other coordinator leaves a dead one's requests to this one.
      await node.drain();
      const doorClosed = rpc.close(settings.drainGraceMs);
      await running.drain(settings.drainGraceMs);
      await doorClosed;
      endSweeps();
      endWatch();
      unlisten();
      await node.close();
      await judges.close();
      await registry.close();
      await host.close();
    },
  };
}

/** Nothing is accepted while this machine's clock is too far off, or was not compared with NATS's yet. */
function withRightClock(
  { hostClock, events, config }: Host,
  { tenant, class: klass = config.defaults.class }: ScoreInput,
  score: () => Promise<ScoreOutcome>,
): Promise<ScoreOutcome> {
  const refusal = hostClock.refusal();
  if (refusal === undefined) return score();
  events.emit('admission.rejected', { tenant, class: klass, reason: 'clock_off', why: 'clock' });
  return Promise.resolve({ kind: 'fault', fault: fault('clock_off', refusal, { retryAfterMs: 1_000 }) });
}

/** What is open here, and by the leases at other coordinators; those are added up once per heartbeat. */
function openWorkOf(admission: Admission, registry: Registry, node: Node, clock: Clock): () => OpenWork {
  let elsewhere = { samples: 0, readAtMs: -Infinity };
  return () => {
    const now = clock.steadyNow();
    if (now - elsewhere.readAtMs >= limits.heartbeatMs || now < elsewhere.readAtMs) {
      const others = registry.nodes().filter(({ node: { role, id } }) => role === 'coordinator' && id !== node.id);
      elsewhere = { samples: others.reduce((sum, each) => sum + each.node.running, 0), readAtMs: now };
    }
    const { requests, samples } = admission.load;
    return { requests, samples: samples + elsewhere.samples };
  };
}

/** The coordinator's view of the cluster, from the leases. */
function membersOf(registry: Registry, node: Node, host: Host): Omit<Members, 'judges'> {
  const { config, queue, clock } = host;
  let metaServedAtMs = -Infinity;
  const metaServing = (): number | 'unknown' => {
    const serving = registry.serving('meta-worker', config.coordinator.metaPool);
    if (serving > 0) metaServedAtMs = clock.steadyNow();
    return queue.connected() ? serving : 'unknown';
  };
  registry.onChange(() => void metaServing());
  return {
    alive: (id) => {
      if (id === node.id) return true;
      // Its budgets would be told by a clock that nothing is known of.
      return host.hostClock.refusal() === undefined ? registry.alive(id) : 'unknown';
    },
    coordinators: () => {
      const ids = registry.taking('coordinator');
      return ids.includes(node.id) ? ids : [...ids, node.id];
    },
    metaServing,
    metaExpected: () =>
      metaServing() !== 0 ||
      registry.expected('meta-worker', config.coordinator.metaPool) > 0 ||
      clock.steadyNow() - metaServedAtMs < config.coordinator.metaPatienceMs,
    fleet: () => {
      const { engines, slots, running } = registry.pool('grm-worker', config.coordinator.pool);
      return { engines, slots, busyRatio: slots === 0 ? 1 : running / slots };
    },
    outage: () => registry.outage('grm-worker', config.coordinator.pool),
    want: (requestId, forMs) => broadcastWanted(queue.control, requestId, forMs),
    isAt: (requestId, task) => askWhoIsAt(queue.control, requestId, task),
    cancel: (requestId, run) => broadcastCancel(queue.control, requestId, run),
  };
}

/**
 * Looks for unfinished requests once the death of a coordinator is certain: a lease's time after it was last seen (registry, R2), and so long
 * after our own start. Looking lists the whole ledger, so no other change of membership calls for it.
 */
function watchCoordinators(host: Host, registry: Registry, running: RunningCoordinator): () => void {
  const certainMs = limits.leaseMs + 2 * limits.heartbeatMs;
  const timers = new Set<() => void>();
  const lookLater = (): void => {
    const cancel = host.clock.after(certainMs, () => {
      timers.delete(cancel);
      running.membersChanged();
    });
    timers.add(cancel);
  };
  const ids = (): Set<string> =>
    new Set(registry.nodes().flatMap(({ node }) => (node.role === 'coordinator' ? [node.id] : [])));
  let known = ids();
  const unhear = registry.onChange(() => {
    const now = ids();
    if ([...known].some((id) => !now.has(id))) lookLater();
    known = now;
  });
  lookLater();
  return () => {
    unhear();
    for (const cancel of timers) cancel();
  };
}

/** An operator may ask any coordinator to cancel a request that runs at another. */
async function cancelAnywhere(
  requestId: string,
  running: RunningCoordinator,
  registry: Registry,
  node: Node,
  host: Host,
): Promise<boolean> {
  if (await running.cancel(requestId)) return true;
  const others = registry
    .nodes()
    .flatMap(({ node: each }) => (each.role === 'coordinator' && each.id !== node.id ? [each.id] : []));
  const replies = await askEach(host.queue.control, others, { kind: 'cancel', requestId });
  return replies.some(({ reply }) => reply.kind === 'cancelled' && reply.cancelled);
}

/**
 * One coordinator sweeps for all: the one chosen by hash among the live ones. It sweeps every sweepEveryMs, and at the next look at the
 * streams while one of them is short of room: somebody may wait for it.
 */
function startJanitor(host: Host, registry: Registry, node: Node, running: RunningCoordinator, room: Room): () => void {
  const { queue, clock, events, config } = host;
  const sweep = async (): Promise<void> => {
    const ids = registry.nodes().flatMap(({ node: each }) => (each.role === 'coordinator' ? [each.id] : []));
    const { busy, complete, oldestOpenAtMs } = registry.work();
    if (!queue.connected() || chosen('janitor', ids) !== node.id) return;
    const own = running.busy();
    const oldest = Math.min(
      oldestOpenAtMs ?? Infinity,
      own.requestIds.length > 0 ? own.oldestOpenAtMs : Infinity,
      clock.now(),
    );
    const state = { busy: new Set([...busy, ...own.requestIds]), complete, oldestOpenAtMs: oldest };
    await queue.sweep({ ...state, reserveBytes: room.reserve() });
  };
  const { sweepEveryMs } = config.coordinator;
  let closed = false;
  let sweeping = false;
  let sweptAtMs = clock.steadyNow();
  const sweepNow = (): void => {
    if (closed || sweeping) return;
    sweeping = true;
    sweptAtMs = clock.steadyNow();
    sweep()
      .catch((error: unknown) => events.emit('trouble', { where: 'janitor', error }))
      .finally(() => (sweeping = false));
  };
  let cancel = clock.after(sweepEveryMs, function again() {
    sweepNow();
    cancel = clock.after(sweepEveryMs, again);
  });
  const endLooks = queue.storage.onLook(() => {
    const isShort = room.isShort() && clock.steadyNow() - sweptAtMs >= Math.min(sweepEveryMs, limits.storageLookMs);
    if (isShort) sweepNow();
  });
  return () => {
    closed = true;
    endLooks();
    cancel();
  };
}
