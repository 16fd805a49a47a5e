// GrmError: how the client fails. One class for all causes; `kind` tells them apart (docs/errors.md has a line for each).

import { FaultError, type FaultKind, type Violation } from '../fault.js';

export class GrmError extends FaultError {
  override readonly name = 'GrmError';

  get kind(): FaultKind {
    return this.fault.kind;
  }

  /** Every wrong field of an `invalid_request`, else empty. */
  get violations(): readonly Violation[] {
    return this.fault.violations ?? [];
  }

  /** When a new call may succeed, if the server said so. */
  get retryAfterMs(): number | undefined {
    return this.fault.retryAfterMs;
  }
}
