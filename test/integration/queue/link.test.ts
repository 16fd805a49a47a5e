// The first connection: who is refused for good, and who for now.

import { connect, createServer, type AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { connect as connectNats } from '@nats-io/transport-node';
import type { OnQueueEvent } from '../../../src/queue/events.js';
import { openLink } from '../../../src/queue/link.js';
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

test('what is published in one turn arrives in its order, also right before the end; what is published without a connection is gone', async () => {
  await using nats = await startNats();
  const other = await connectNats({ servers: nats.url });
  const heard: string[] = [];
  other.subscribe('x.*', { callback: (_, msg) => void heard.push(`${msg.subject} ${msg.string()}`) });
  await other.flush();
  const words: OnQueueEvent = () => undefined;
  const link = await openLink(queueOptions(nats), words);
  const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
  link.publish('x.1', bytes('a'), { reply: 'r' });
  link.publish('x.2', bytes('b'));
  await link.flush();
  await other.flush();
  expect(heard).toEqual(['x.1 a', 'x.2 b']);
  link.publish('x.3', bytes('c'));
  await link.close();
  link.publish('x.4', bytes('d'));
  await new Promise((resolve) => setImmediate(resolve));
  await other.flush();
  expect(heard).toEqual(['x.1 a', 'x.2 b', 'x.3 c']);
  await other.close();
});
