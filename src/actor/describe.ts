// Describe: an actor as others see it, in the wire's form.

import { limits } from '../limits.js';
import type { Clock } from '../process/clock.js';
import { ActorState, type Actor as WireActor } from '../wire/gen/grm/v1/cluster.js';
import type { Actor, Running } from './actor.js';
import type { LifecycleKind } from './lifecycle.js';

export const actorStates: Readonly<Record<LifecycleKind, ActorState>> = {
  pending: ActorState.PENDING,
  starting: ActorState.STARTING,
  alive: ActorState.ALIVE,
  draining: ActorState.DRAINING,
  restarting: ActorState.RESTARTING,
  dead: ActorState.DEAD,
};

export function describeActor<R extends Running>(actor: Actor<R>, clock: Pick<Clock, 'now' | 'steadyNow'>): WireActor {
  const state = actor.state();
  const held = actor.held();
  const out = state.kind === 'alive' ? held?.outOfService?.() : undefined;
  return {
    id: actor.id,
    kind: actor.spec.kind,
    name: actor.spec.name,
    state: out ? ActorState.OUT_OF_SERVICE : actorStates[state.kind],
    stateReason: (out?.reason ?? state.reason).slice(0, limits.actorReasonCharsMax),
    restarts: Math.max(0, state.starts - 1),
    restartsMax: actor.spec.restartsMax,
    concurrencyMax: actor.concurrencyMax(),
    running: held?.running() ?? 0,
    gpus: [...actor.spec.gpus],
    model: (held?.model ?? '').slice(0, limits.engineLabelCharsMax),
    engine: (held?.description ?? '').slice(0, limits.engineLabelCharsMax),
    // The actor goes by the steady clock, which is this process's own.
    stateSinceMs: Math.max(0, clock.now() - (clock.steadyNow() - (out ?? state).sinceMs)),
    judge: held?.judgeId ?? '',
  };
}
