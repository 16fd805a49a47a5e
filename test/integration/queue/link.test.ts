// The first connection: who is refused for good, and who for now.

import { connect, createServer, type AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { openQueue } from '../../../src/queue/jetstream.js';
import { startNats } from '../../support/nats.js';
import { queueOptions } from '../../support/queue-options.js';

test('a server that had no time to hear who we are is asked again; a wrong password is told at once', async () => {
  await using nats = await startNats({ config: 'authorization { user: "u", password: "right" }' });
  let connections = 0;
  // Between us and the real one: the first connection is answered as a busy nats-server does.
  const door = createServer((socket) => {
    socket.on('error', () => undefined);
    connections += 1;
    if (connections === 1) {
      socket.write('INFO {"server_id":"busy","version":"2.9.10","proto":1,"headers":true,"auth_required":true}\r\n');
      socket.once('data', () => socket.end("-ERR 'Authentication Timeout'\r\n"));
      return;
    }
    const real = connect(nats.port, '127.0.0.1');
    real.on('error', () => undefined);
    socket.pipe(real).pipe(socket);
    socket.once('close', () => real.destroy());
  });
  await new Promise<void>((resolve) => door.listen(0, '127.0.0.1', resolve));
  const servers = [`nats://127.0.0.1:${(door.address() as AddressInfo).port}`];
  try {
    const queue = await openQueue(queueOptions(nats, { servers, user: 'u', password: 'right', connectMs: 60_000 }));
    expect(connections).toBeGreaterThan(1);
    await queue.close();
    const wrong = openQueue(queueOptions(nats, { servers, user: 'u', password: 'wrong', connectMs: 60_000 }));
    await expect(wrong).rejects.toMatchObject({
      fault: { kind: 'permission_denied', message: expect.stringMatching(/refuses these credentials/) as string },
    });
  } finally {
    door.close();
  }
});
