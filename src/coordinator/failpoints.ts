// Failpoints: named places on a request's way at which a test has the process die, to see that another one finishes the request.
//
// They stand where a death leaves something different behind: in the ledger, in the queues, or with the caller. Nothing happens at one
// unless the wiring says so (services/coordinator/failpoint.ts: GRM_FAILPOINT, which only tests set).

export const failpoints = [
  /** Admitted; nothing of it is stored. */
  'admitted',
  /** The record is stored; nothing is asked of anybody. */
  'accepted',
  /** The record was there before: what an earlier run left in the queues is withdrawn. */
  'resumed',
  /** A shard is in the work queue; others may not be. */
  'asked',
  /** A sample is in hand; others may not be. */
  'sampled',
  /** Samples are with the meta RM. */
  'ranking',
  /** All that the vote needs is there. */
  'gathered',
  /** What the vote does without is withdrawn from queues and engines. */
  'withdrawn',
  /** The verdict is made, and not stored. */
  'voted',
  /** The verdict is stored, and not told. */
  'stored',
] as const;

export type Failpoint = (typeof failpoints)[number];
