// Auth: bearer tokens, checked before a message is read.
//
//   A1. With tokens configured every call but grpc.health.v1 carries `authorization: Bearer <token>`; else it is UNAUTHENTICATED.
//   A2. A token with a list of tenants scores for those tenants only, and has no say over the cluster: ClusterService is PERMISSION_DENIED.
//       A request that names no tenant belongs to the first of the list.
//   A3. Tokens are kept and compared as hashes, in constant time, all of them each time.

import { createHash, timingSafeEqual } from 'node:crypto';
import {
  ServerInterceptingCall,
  ServerListenerBuilder,
  type Metadata,
  type ServerInterceptor,
  type ServerMethodDefinition,
} from '@grpc/grpc-js';
import { fault, type Fault } from '../fault.js';
import { statusOf } from './status.js';

export interface Token {
  /** For logs and people; never the secret. */
  readonly name: string;
  readonly token: string;
  /** Tenants that it may score for; absent: all, and the cluster's controls. */
  readonly tenants?: readonly string[];
}

/** What a caller may do. */
export interface Grant {
  readonly name: string;
  readonly tenants?: readonly string[];
}

const everything: Grant = { name: 'anonymous' };
const healthPrefix = '/grpc.health.v1.';
const clusterPrefix = '/grm.v1.ClusterService/';

export class Auth {
  readonly #known: readonly { readonly hash: Buffer; readonly grant: Grant }[];
  /** By the call's own metadata object, which the interceptor and the handler share. */
  readonly #grants = new WeakMap<Metadata, Grant>();

  constructor(tokens: readonly Token[]) {
    this.#known = tokens.map(({ name, token, tenants }) => {
      if (token === '') throw new Error(`rpc token "${name}" is empty`);
      if (tenants?.length === 0)
        throw new Error(`rpc token "${name}" has an empty list of tenants: leave it out for all`);
      return { hash: sha256(token), grant: { name, ...(tenants && { tenants }) } };
    });
  }

  /** None without tokens: a call then pays nothing. */
  interceptors(): ServerInterceptor[] {
    return this.#known.length === 0 ? [] : [(method, call) => this.#guard(method, call)];
  }

  grant(metadata: Metadata): Grant {
    if (this.#known.length === 0) return everything;
    const grant = this.#grants.get(metadata);
    if (!grant) throw new Error('auth: a call came past the interceptor');
    return grant;
  }

  #guard(
    method: ServerMethodDefinition<unknown, unknown>,
    call: Parameters<ServerInterceptor>[1],
  ): ServerInterceptingCall {
    if (method.path.startsWith(healthPrefix)) return new ServerInterceptingCall(call);
    const listener = new ServerListenerBuilder()
      .withOnReceiveMetadata((metadata, next) => {
        const grant = this.#check(metadata);
        if (!grant) {
          call.sendStatus(statusOf(fault('unauthenticated', 'the bearer token is missing or unknown')));
        } else if (grant.tenants && method.path.startsWith(clusterPrefix)) {
          const words = `token "${grant.name}" is for its tenants' requests, not for the cluster`;
          call.sendStatus(statusOf(fault('permission_denied', words)));
        } else {
          this.#grants.set(metadata, grant);
          next(metadata);
        }
      })
      .build();
    return new ServerInterceptingCall(call, { start: (next) => next(listener) });
  }

  #check(metadata: Metadata): Grant | undefined {
    const [header] = metadata.get('authorization');
    const secret = typeof header === 'string' ? /^bearer +(.+)$/i.exec(header)?.[1] : undefined;
    if (secret === undefined) return undefined;
    const hash = sha256(secret.trim());
    let grant: Grant | undefined;
    for (const each of this.#known) if (timingSafeEqual(each.hash, hash)) grant = each.grant;
    return grant;
  }
}

/** The tenant that a request is for, as the grant sees it (A2). `asked` is empty when the request names none. */
export function tenantFor(grant: Grant, asked: string): string {
  return asked === '' ? (grant.tenants?.[0] ?? '') : asked;
}

export function mayActFor(grant: Grant, tenant: string): Fault | undefined {
  if (!grant.tenants || grant.tenants.includes(tenant)) return undefined;
  return fault('permission_denied', `token "${grant.name}" may not act for tenant "${tenant}"`);
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
