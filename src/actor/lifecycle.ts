// Lifecycle: where an actor is in its life. Pure: the supervisor (actor.ts) turns what happens into events, this file alone changes the state.
//
//   pending     start -> starting     drain, resume -> pending (held, not held)
//   starting    started -> alive      failed -> restarting, or dead when given up     drain -> pending (held)
//   alive       drain -> draining     failed -> restarting, or dead when given up
//   draining    resume -> alive       failed -> pending (held)
//   restarting  start -> starting     drain -> pending (held)
//   all but dead: ended -> dead
//
//   L1. A resource exists only in `alive` and `draining`: whoever holds a dead actor cannot reach its engine.
//   L2. `dead` is final.
//   L3. `alive` is entered from `starting`, or from `draining` by a resume: nothing serves that did not come up.
//   L4. `starts` grows by one with each start and never otherwise.
//   L5. `sinceMs` is the time of the last change of kind.
//   L6. An event that its state does not know is a bug of the supervisor: it throws and changes nothing.

export type Lifecycle<R> =
  /** Known, not running. `held`: a drain keeps it from starting until a resume. */
  | {
      readonly kind: 'pending';
      readonly sinceMs: number;
      readonly starts: number;
      readonly reason: string;
      readonly held: boolean;
    }
  | { readonly kind: 'starting'; readonly sinceMs: number; readonly starts: number; readonly reason: string }
  | {
      readonly kind: 'alive';
      readonly sinceMs: number;
      readonly starts: number;
      readonly reason: string;
      readonly resource: R;
    }
  /** Finishes what it has and takes no more; it still holds its resource. */
  | {
      readonly kind: 'draining';
      readonly sinceMs: number;
      readonly starts: number;
      readonly reason: string;
      readonly resource: R;
    }
  /** Failed; starts again at `retryAtMs`. */
  | {
      readonly kind: 'restarting';
      readonly sinceMs: number;
      readonly starts: number;
      readonly reason: string;
      readonly retryAtMs: number;
    }
  | { readonly kind: 'dead'; readonly sinceMs: number; readonly starts: number; readonly reason: string };

export type LifecycleKind = Lifecycle<never>['kind'];

export type LifecycleEvent<R> =
  | { readonly kind: 'start' }
  | { readonly kind: 'started'; readonly resource: R }
  /** It did not come up, or went down. `retryAtMs` is absent when supervision gives it up. */
  | { readonly kind: 'failed'; readonly reason: string; readonly retryAtMs?: number }
  | { readonly kind: 'drain' }
  | { readonly kind: 'resume' }
  /** Closed for good; what it held is freed. */
  | { readonly kind: 'ended'; readonly reason: string };

export function pending(now: number): Lifecycle<never> {
  return { kind: 'pending', sinceMs: now, starts: 0, reason: '', held: false };
}

/** The one place where an actor's state changes. `now` by the steady clock (process/clock.ts). */
export function transition<R>(state: Lifecycle<R>, event: LifecycleEvent<R>, now: number): Lifecycle<R> {
  const { starts } = state;
  if (event.kind === 'ended' && state.kind !== 'dead')
    return { kind: 'dead', sinceMs: now, starts, reason: event.reason };
  switch (state.kind) {
    case 'pending':
      if (event.kind === 'start' && !state.held)
        return { kind: 'starting', sinceMs: now, starts: starts + 1, reason: '' };
      if (event.kind === 'drain') return { ...state, held: true };
      if (event.kind === 'resume') return { ...state, held: false };
      break;
    case 'starting':
      if (event.kind === 'started')
        return { kind: 'alive', sinceMs: now, starts, reason: '', resource: event.resource };
      if (event.kind === 'failed') return afterFailure(state, event, now);
      if (event.kind === 'drain') return { kind: 'pending', sinceMs: now, starts, reason: 'drained', held: true };
      break;
    case 'alive':
      if (event.kind === 'failed') return afterFailure(state, event, now);
      if (event.kind === 'drain')
        return { kind: 'draining', sinceMs: now, starts, reason: 'drained', resource: state.resource };
      break;
    case 'draining':
      // Nobody wants its work now: it waits for the resume instead of a restart.
      if (event.kind === 'failed') return { kind: 'pending', sinceMs: now, starts, reason: event.reason, held: true };
      if (event.kind === 'resume') return { kind: 'alive', sinceMs: now, starts, reason: '', resource: state.resource };
      break;
    case 'restarting':
      if (event.kind === 'start') return { kind: 'starting', sinceMs: now, starts: starts + 1, reason: '' };
      if (event.kind === 'drain') return { kind: 'pending', sinceMs: now, starts, reason: state.reason, held: true };
      break;
    case 'dead':
      break;
  }
  throw new Error(`lifecycle (L6): ${state.kind} knows no ${event.kind}`);
}

/** The resource that the state owns (L1). */
export function resourceOf<R>(state: Lifecycle<R>): R | undefined {
  return state.kind === 'alive' || state.kind === 'draining' ? state.resource : undefined;
}

function afterFailure<R>(
  { starts }: Lifecycle<R>,
  { reason, retryAtMs }: { readonly reason: string; readonly retryAtMs?: number },
  now: number,
): Lifecycle<R> {
  if (retryAtMs === undefined) return { kind: 'dead', sinceMs: now, starts, reason };
  return { kind: 'restarting', sinceMs: now, starts, reason, retryAtMs };
}
