// gRPC by hand over HTTP/2: for bytes that no client library would send.

import { connect, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';

export interface RawStatus {
  /** A number of google.rpc.Code; undefined when the stream ended without one. */
  readonly code: number | undefined;
  readonly message: string;
}

export interface RawCall {
  readonly stream: ClientHttp2Stream;
  /** Resolves when the server has said all that it says. */
  readonly answered: Promise<RawStatus>;
  /** Resolves when the stream is closed at both ends: by the server alone, when this end never ended it. */
  readonly closed: Promise<RawStatus>;
}

export class RawConnection implements AsyncDisposable {
  private constructor(private readonly session: ClientHttp2Session) {}

  /** @param address "host:port", without TLS */
  static async open(address: string): Promise<RawConnection> {
    const session = connect(`http://${address}`);
    await new Promise<void>((resolve, reject) => {
      session.once('connect', () => resolve());
      session.once('error', reject);
    });
    // Later errors are those of its streams, which tell themselves.
    session.on('error', () => undefined);
    return new RawConnection(session);
  }

  /** Opens a call and sends nothing. */
  call(path: string, headers: Readonly<Record<string, string>> = {}): RawCall {
    const stream = this.session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...headers,
    });
    let code: number | undefined;
    let message = '';
    const hear = (fields: Readonly<Record<string, unknown>>): void => {
      if (fields['grpc-status'] === undefined) return;
      code = Number(fields['grpc-status']);
      const said = fields['grpc-message'];
      if (typeof said === 'string') message = decodeURIComponent(said);
    };
    stream.on('response', hear);
    stream.on('trailers', hear);
    stream.on('error', () => undefined);
    stream.resume();
    const closed = new Promise<RawStatus>((resolve) => stream.once('close', () => resolve({ code, message })));
    const said = new Promise<RawStatus>((resolve) => stream.once('end', () => resolve({ code, message })));
    return { stream, answered: Promise.race([said, closed]), closed };
  }

  /** One whole call with these bytes as its only message. */
  async ask(path: string, message: Uint8Array, headers: Readonly<Record<string, string>> = {}): Promise<RawStatus> {
    const { stream, answered } = this.call(path, headers);
    stream.end(frame(message, headers['grpc-encoding'] !== undefined));
    return answered;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) => this.session.once('close', () => resolve()));
    this.session.destroy();
    await closed;
  }
}

/** A length-prefixed message. `lengthBytes`: what it says of itself, when that is a lie. */
export function frame(message: Uint8Array, compressed = false, lengthBytes = message.length): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(compressed ? 1 : 0, 0);
  head.writeUInt32BE(lengthBytes, 1);
  return Buffer.concat([head, message]);
}
