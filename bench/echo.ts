// A bare gRPC server: one unary method that sends back what came. What one call costs without us.
//
//   node echo.js serve     the server, a process of its own

import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import {
  Client,
  credentials,
  Server,
  ServerCredentials,
  type sendUnaryData,
  type ServerUnaryCall,
} from '@grpc/grpc-js';
import { ended, owned, told } from './cluster.js';

const path = '/bench.Echo/Echo';
const asIs = (bytes: Buffer): Buffer => bytes;
const method = {
  path,
  requestStream: false,
  responseStream: false,
  requestSerialize: asIs,
  requestDeserialize: asIs,
  responseSerialize: asIs,
  responseDeserialize: asIs,
} as const;

export interface Echo extends AsyncDisposable {
  call(bytes: Uint8Array): Promise<void>;
}

export async function startEcho(): Promise<Echo> {
  const child = owned(fork(fileURLToPath(import.meta.url), ['serve']));
  const { port } = await told<{ port: number }>(child, (message) => typeof message.port === 'number');
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  return {
    call: (bytes) =>
      new Promise((resolve, reject) => {
        client.makeUnaryRequest(path, asIs, asIs, Buffer.from(bytes), (error) => {
          if (error) reject(error);
          else resolve();
        });
      }),
    async [Symbol.asyncDispose]() {
      client.close();
      await ended(child);
    },
  };
}

function serve(): void {
  const server = new Server();
  server.addService(
    { Echo: method },
    {
      Echo: (call: ServerUnaryCall<Buffer, Buffer>, reply: sendUnaryData<Buffer>) => {
        reply(null, call.request);
      },
    },
  );
  server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
    if (error) throw error;
    process.send?.({ port });
  });
}

if (process.argv[2] === 'serve') serve();
