// Secret: a value that does not print. Configuration holds tokens and passwords as this type, so that no log, error, inspection or JSON
// shows one by accident; whoever needs it asks with `reveal()`.

import { inspect } from 'node:util';
import { redactedMark } from '../observe/redact.js';

export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return redactedMark;
  }

  toJSON(): string {
    return redactedMark;
  }

  [inspect.custom](): string {
    return redactedMark;
  }
}
