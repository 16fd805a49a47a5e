// TLS: credentials of both sides from files.
//
//   T1. A coordinator listens beyond loopback only with TLS, or when told `allowInsecure`.
//   T2. Files are read anew every `reloadEveryMs`; new connections get the new certificate. Files that do not load or do not belong
//       together leave the last good ones in force and are reported.

import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { createSecureContext } from 'node:tls';
import { credentials, experimental, ServerCredentials, type ChannelCredentials } from '@grpc/grpc-js';
import { readFile } from 'node:fs/promises';

export interface ServerTls {
  /** PEM files. */
  readonly certFile: string;
  readonly keyFile: string;
  /** Given: clients must show a certificate signed by it (mTLS). */
  readonly clientCaFile?: string;
}

export interface ClientTls {
  /** PEM file; default: the system's roots. */
  readonly caFile?: string;
  /** For mTLS, both or none. */
  readonly certFile?: string;
  readonly keyFile?: string;
  /** Name expected in the server's certificate when it is not the address's. */
  readonly serverName?: string;
}

/** `host:port` or `[v6]:port`. */
export function hostOf(listen: string): string {
  return listen.slice(0, Math.max(0, listen.lastIndexOf(':'))).replace(/^\[(.*)\]$/, '$1');
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

/** Throws with the setting's name when the door would stand open (T1). */
export function checkExposure(listen: string, tls: ServerTls | undefined, allowInsecure: boolean): void {
  if (tls || allowInsecure || isLoopback(hostOf(listen))) return;
  throw new Error(
    `rpc.listen = "${listen}" is reachable from other machines without encryption: ` +
      'set rpc.tls (certFile, keyFile), or rpc.allowInsecure = true if the network is trusted, or listen on 127.0.0.1',
  );
}

export function serverCredentials(
  tls: ServerTls | undefined,
  reloadEveryMs: number,
  trouble: (error: unknown) => void,
): ServerCredentials {
  if (!tls) return ServerCredentials.createInsecure();
  const source = new PemFiles(tls, reloadEveryMs, trouble);
  return experimental.createCertificateProviderServerCredentials(
    source,
    tls.clientCaFile === undefined ? null : source,
    true,
  );
}

export function clientCredentials(tls: ClientTls | undefined): ChannelCredentials {
  if (!tls) return credentials.createInsecure();
  const read = (file: string | undefined) => (file === undefined ? null : readFileSync(file));
  if ((tls.certFile === undefined) !== (tls.keyFile === undefined)) {
    throw new Error('client tls: certFile and keyFile are given together or not at all');
  }
  return credentials.createSsl(read(tls.caFile), read(tls.keyFile), read(tls.certFile));
}

interface Pems {
  readonly certificate: Buffer;
  readonly privateKey: Buffer;
  readonly caCertificate: Buffer | undefined;
}

type IdentityListener = Parameters<experimental.CertificateProvider['addIdentityCertificateListener']>[0];
type CaListener = Parameters<experimental.CertificateProvider['addCaCertificateListener']>[0];

/** Gives grpc-js certificates and watches their files while somebody listens (T2). */
class PemFiles implements experimental.CertificateProvider {
  readonly #identity = new Set<IdentityListener>();
  readonly #ca = new Set<CaListener>();
  #pems: Pems;
  #timer: NodeJS.Timeout | undefined;
  #reading = false;

  constructor(
    private readonly files: ServerTls,
    private readonly everyMs: number,
    private readonly trouble: (error: unknown) => void,
  ) {
    this.#pems = checked({
      certificate: readFileSync(files.certFile),
      privateKey: readFileSync(files.keyFile),
      caCertificate: files.clientCaFile === undefined ? undefined : readFileSync(files.clientCaFile),
    });
  }

  addIdentityCertificateListener(listener: IdentityListener): void {
    this.#identity.add(listener);
    this.#watch();
    // grpc-js registers its own watcher after this call returns, and must hear of the certificate then.
    process.nextTick(() => listener(this.#pems));
  }

  removeIdentityCertificateListener(listener: IdentityListener): void {
    this.#identity.delete(listener);
    this.#watch();
  }

  addCaCertificateListener(listener: CaListener): void {
    this.#ca.add(listener);
    this.#watch();
    process.nextTick(() => this.#tellCa(listener));
  }

  removeCaCertificateListener(listener: CaListener): void {
    this.#ca.delete(listener);
    this.#watch();
  }

  #watch(): void {
    const wanted = this.#identity.size + this.#ca.size > 0;
    if (!wanted) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    } else {
      this.#timer ??= setInterval(() => void this.#reload(), this.everyMs).unref();
    }
  }

  async #reload(): Promise<void> {
    if (this.#reading) return;
    this.#reading = true;
    try {
      const { certFile, keyFile, clientCaFile } = this.files;
      const fresh = checked({
        certificate: await readFile(certFile),
        privateKey: await readFile(keyFile),
        caCertificate: clientCaFile === undefined ? undefined : await readFile(clientCaFile),
      });
      if (same(fresh, this.#pems)) return;
      this.#pems = fresh;
      for (const listener of this.#ca) this.#tellCa(listener);
      for (const listener of this.#identity) listener(fresh);
    } catch (error) {
      this.trouble(error);
    } finally {
      this.#reading = false;
    }
  }

  #tellCa(listener: CaListener): void {
    const { caCertificate } = this.#pems;
    listener(caCertificate ? { caCertificate } : null);
  }
}

/** Throws when certificate and key do not belong together. */
function checked(pems: Pems): Pems {
  createSecureContext({
    cert: pems.certificate,
    key: pems.privateKey,
    ...(pems.caCertificate && { ca: pems.caCertificate }),
  });
  return pems;
}

function same(a: Pems, b: Pems): boolean {
  const equal = (x: Buffer | undefined, y: Buffer | undefined) => (x && y ? x.equals(y) : x === y);
  return (
    a.certificate.equals(b.certificate) && a.privateKey.equals(b.privateKey) && equal(a.caCertificate, b.caCertificate)
  );
}
