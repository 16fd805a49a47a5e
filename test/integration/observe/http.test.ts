// The observability door over real sockets.

import { once } from 'node:events';
import { request } from 'node:http';
import { connect, createServer, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { limits } from '../../../src/limits.js';
import { Events } from '../../../src/observe/events.js';
import {
  serveObservability,
  wantsOpenMetrics,
  type Observability,
  type ObservabilityOptions,
} from '../../../src/observe/http.js';
import { openMetrics, type Metrics } from '../../../src/observe/metrics.js';
import { Secret } from '../../../src/process/secret.js';

const open: { close(): void | Promise<void> }[] = [];
afterEach(async () => {
  for (const it of open.splice(0).reverse()) await it.close();
});

async function serve(
  options: Partial<ObservabilityOptions> = {},
): Promise<Observability & { get: typeof get; metrics: Metrics }> {
  const metrics = openMetrics({ role: 'coordinator', version: '1', events: new Events() });
  open.push(metrics);
  const door = await serveObservability({
    listen: '127.0.0.1:0',
    metrics,
    live: () => ({ kind: 'ok' }),
    ready: () => ({ ok: true, reasons: [] }),
    debugState: () => ({}),
    ...options,
  });
  open.push(door);
  return { ...door, metrics, get: (path, init) => get(`http://${door.address}${path}`, init) };
}

async function get(
  url: string,
  init: RequestInit = {},
): Promise<{ status: number; type: string; body: string; headers: Headers }> {
  const response = await fetch(url, init);
  return {
    status: response.status,
    type: response.headers.get('content-type') ?? '',
    body: await response.text(),
    headers: response.headers,
  };
}

describe('observability door', () => {
  it('serves metrics as Prometheus text, and as OpenMetrics to who asks', async () => {
    const door = await serve();
    const plain = await door.get('/metrics');
    expect(plain).toMatchObject({ status: 200, type: 'text/plain; version=0.0.4; charset=utf-8' });
    expect(plain.body).toContain('grm_build_info{version="1",role="coordinator"} 1');
    const scraper =
      'application/openmetrics-text;version=1.0.0;q=0.75,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.25,*/*;q=0.1';
    const asked = await door.get('/metrics?x=1', { headers: { accept: scraper } });
    expect(asked.type).toBe('application/openmetrics-text; version=1.0.0; charset=utf-8');
    expect(asked.body.endsWith('# EOF\n')).toBe(true);
  });

  it('H2: tells health and readiness apart, with reasons', async () => {
    let live: ReturnType<ObservabilityOptions['live']> = { kind: 'ok' };
    let ready = { ok: false, reasons: ['NATS is away', 'no engine serves'] };
    const door = await serve({ live: () => live, ready: () => ready });
    expect(await door.get('/healthz')).toMatchObject({ status: 200 });
    const waiting = await door.get('/readyz');
    expect([waiting.status, JSON.parse(waiting.body)]).toEqual([503, ready]);
    ready = { ok: true, reasons: [] };
    expect(await door.get('/readyz')).toMatchObject({ status: 200 });
    live = { kind: 'failing', reason: 'event loop stuck' };
    expect(await door.get('/healthz')).toMatchObject({
      status: 503,
      body: expect.stringContaining('event loop stuck') as string,
    });
  });

  it('H3: shows its state without secrets and texts', async () => {
    const door = await serve({
      debugState: () => ({
        requests: new Map([['r1', { k: 8, prompt: 'PROMPT' }]]),
        nats: { token: 'TOKEN', password: new Secret('PASS') },
        seen: new Set([1]),
      }),
    });
    const { status, type, body } = await door.get('/debug/state');
    expect([status, type]).toEqual([200, 'application/json; charset=utf-8']);
    expect(body).not.toMatch(/PROMPT|TOKEN|PASS/);
    expect(JSON.parse(body)).toEqual({
      requests: { r1: { k: 8, prompt: '[6 characters]' } },
      nats: { token: '[redacted]', password: '[redacted]' },
      seen: [1],
    });
  });

  it('answers HEAD without a body, other methods with 405, other paths with 404', async () => {
    const door = await serve();
    const head = await door.get('/healthz', { method: 'HEAD' });
    expect([head.status, head.body]).toEqual([200, '']);
    const post = await door.get('/metrics', { method: 'POST', body: 'x'.repeat(100_000) });
    expect([post.status, post.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
    expect(await door.get('/etc/passwd')).toMatchObject({ status: 404 });
    expect(await door.get('/metrics/')).toMatchObject({ status: 404 });
  });

  it('turns an error inside into a bare 500 and reports it', async () => {
    const errors: unknown[] = [];
    const door = await serve({
      debugState: () => {
        throw new Error('secret detail');
      },
      onError: (error) => errors.push(error),
    });
    expect(await door.get('/debug/state')).toMatchObject({ status: 500, body: 'internal error\n' });
    expect(errors).toMatchObject([{ message: 'secret detail' }]);
    expect(await door.get('/healthz')).toMatchObject({ status: 200 });
  });

  it('says plainly that an address is taken or wrong', async () => {
    const holder = createServer().listen(0, '127.0.0.1');
    await once(holder, 'listening');
    open.push({ close: () => void holder.close() });
    const { port } = holder.address() as { port: number };
    await expect(serve({ listen: `127.0.0.1:${port}` })).rejects.toThrow(
      `cannot listen on 127.0.0.1:${port}: the port is taken`,
    );
    await expect(serve({ listen: 'nonsense' })).rejects.toThrow('"nonsense" is no address');
  });

  it('H1: refuses headers above its bound', async () => {
    const door = await serve();
    const answer = await new Promise<number>((resolve, reject) => {
      const headers = { 'x-long': 'x'.repeat(limits.httpHeaderBytesMax + 1) };
      request(`http://${door.address}/healthz`, { headers }, (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      })
        .on('error', reject)
        .end();
    });
    expect(answer).toBe(431);
  });

  it('H1: cuts off a peer that never finishes its headers', async () => {
    const door = await serve();
    const socket = dial(door.address);
    socket.write('GET /healthz HTTP/1.1\r\nhost: x\r\n');
    let said = '';
    socket.on('data', (data) => (said += data.toString()));
    await once(socket, 'close');
    expect(said).toMatch(/^HTTP\/1\.1 408 /);
  });

  it('H1: holds no more connections than its bound', async () => {
    const door = await serve();
    const sockets = Array.from({ length: limits.httpConnectionsMax }, () => dial(door.address));
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
    const extra = dial(door.address);
    await once(extra, 'close');
    for (const socket of sockets) socket.destroy();
    // Room again once they have gone.
    await expect
      .poll(() =>
        door.get('/healthz').then(
          ({ status }) => status,
          () => 0,
        ),
      )
      .toBe(200);
  });

  it('closes while peers hang on, and frees its port', async () => {
    const door = await serve({ debugState: () => 'x' });
    const idle = dial(door.address);
    await once(idle, 'connect');
    const gone = once(idle, 'close');
    await door.close();
    await gone;
    const again = await serve({ listen: door.address });
    expect(again.address).toBe(door.address);
  });
});

describe('wantsOpenMetrics', () => {
  it.each([
    [undefined, false],
    ['*/*', false],
    ['text/plain', false],
    ['application/openmetrics-text', true],
    ['application/openmetrics-text; version=1.0.0', true],
    ['application/openmetrics-text; version=0.0.1', false],
    ['application/openmetrics-text;q=0, text/plain', false],
    ['text/plain;q=0.9, application/openmetrics-text;q=0.5', false],
    ['application/openmetrics-text;q=x', false],
  ])('%s: %s', (accept, expected) => {
    expect(wantsOpenMetrics(accept)).toBe(expected);
  });
});

function dial(address: string): Socket {
  const [host = '', port = ''] = address.split(':');
  const socket = connect(Number(port), host).on('error', () => undefined);
  open.push({ close: () => void socket.destroy() });
  return socket;
}
