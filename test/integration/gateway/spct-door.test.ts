// The reward door over real HTTP.

import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { serveSpct, type SpctDoor, type SpctDoorOptions } from '../../../src/gateway/spct-door.js';
import { limits } from '../../../src/limits.js';

let door: SpctDoor | undefined;

async function open(more: Partial<SpctDoorOptions> = {}): Promise<string> {
  door = await serveSpct({ listen: '127.0.0.1:0', ...more });
  return `http://${door.address}`;
}

afterEach(async () => {
  await door?.close();
  door = undefined;
});

const said = (scores: string): string => `Analysis:\ny\nScores: \\boxed{${scores}}`;
const good = { completion: said('3, 9'), best: 1, n: 2 };

async function post(
  url: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<{ status: number; body: Record<string, unknown>; headers: Headers }> {
  const response = await fetch(`${url}/spct/reward`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  return {
    status: response.status,
    body: (await response.json()) as Record<string, unknown>,
    headers: response.headers,
  };
}

describe('POST /spct/reward', () => {
  it('answers a batch in its order; an invalid output is -1 and says why', async () => {
    const url = await open();
    const rows = [
      good,
      { completion: said('9, 9'), labels: [1, 2] },
      { completion: [{ role: 'assistant', content: 'no scores' }], best: 0, n: 2 },
      { completion: said('9, 3'), best: 1, n: 2, permutation: [1, 0] },
    ];
    const { status, body } = await post(url, { rows });
    expect([status, body]).toEqual([
      200,
      {
        rewards: [1, -1, -1, 1],
        reasons: [null, 'tie', 'no_box', null],
        scores: [[3, 9], [9, 9], null, [3, 9]],
      },
    ]);
    expect(await post(url, { rows: [] })).toMatchObject({
      status: 200,
      body: { rewards: [], reasons: [], scores: [] },
    });
  });

  it('G1: gives no number when a row is malformed, and names index and field of all', async () => {
    const { status, body } = await post(await open(), { rows: [good, { ...good, n: 99 }, {}] });
    expect(status).toBe(400);
    expect(body).toEqual({
      error: {
        kind: 'invalid_request',
        message: expect.stringMatching(/^rows\[1\]\.n: came 99, .*\(and \d more\)$/) as string,
        violations: expect.arrayContaining([
          expect.objectContaining({ index: 1, field: 'n' }),
          expect.objectContaining({ index: 2, field: 'completion' }),
          expect.objectContaining({ index: 2, field: 'labels' }),
        ]) as unknown,
        count: expect.any(Number) as number,
      },
    });
  });

  it('refuses what is no batch, in the same form', async () => {
    const url = await open();
    const kinds = async (body: unknown, headers?: Record<string, string>) => {
      const { status, body: answer } = await post(url, body, headers);
      return [status, (answer.error as { kind: string }).kind];
    };
    expect(await kinds('{"rows": ')).toEqual([400, 'invalid_request']);
    expect(await kinds('')).toEqual([400, 'invalid_request']);
    for (const body of [[], {}, { rows: {} }, 'null'])
      expect(await kinds(body), JSON.stringify(body)).toEqual([400, 'invalid_request']);
    expect(await kinds('x', { 'content-type': 'text/csv' })).toEqual([415, 'invalid_request']);
    const nowhere = await fetch(`${url}/spct/rewards`, { method: 'POST' });
    expect([nowhere.status, await nowhere.json()]).toMatchObject([404, { error: { kind: 'not_found' } }]);
  });

  it('G2: bounds rows and bytes', async () => {
    const url = await open();
    const many = Array.from({ length: limits.spctBatchRowsMax + 1 }, () => 0);
    expect(await post(url, { rows: many })).toMatchObject({
      status: 400,
      body: { error: { violations: [{ field: 'rows' }] } },
    });
    // The length alone decides: nothing of the body is read.
    const head = `POST /spct/reward HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${limits.spctBatchBytesMax + 1}\r\n\r\n`;
    expect(await raw(url, head)).toMatch(/^HTTP\/1\.1 413 /);
    expect(await raw(url, `GET / HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(limits.httpHeaderBytesMax)}\r\n\r\n`)).toMatch(
      /^HTTP\/1\.1 431 /,
    );
  });

  it('G2: closes a connection too many without an answer, and answers the others', async () => {
    const url = await open();
    const sockets = await Promise.all(Array.from({ length: limits.spctConnectionsMax }, () => connected(url)));
    expect(await raw(url, 'GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n').catch(() => '')).toBe('');
    sockets.forEach((socket) => socket.destroy());
  });

  it('G3: with a token, nothing but health is told to those who do not show it', async () => {
    const url = await open({ token: 'secret' });
    expect(await post(url, { rows: [good] })).toMatchObject({
      status: 401,
      body: { error: { kind: 'unauthenticated' } },
    });
    expect((await post(url, { rows: [good] }, { authorization: 'Bearer secret2' })).status).toBe(401);
    expect((await post(url, '{', { authorization: 'Basic secret' })).status).toBe(401);
    expect((await fetch(`${url}/nowhere`)).status).toBe(401);
    expect(await post(url, { rows: [good] }, { authorization: 'Bearer secret' })).toMatchObject({
      status: 200,
      body: { rewards: [1] },
    });
    const health = await fetch(`${url}/healthz`);
    expect([health.status, await health.json()]).toEqual([200, { kind: 'ok' }]);
  });

  it('G4: a batch under way is answered when the door closes, and no new one', async () => {
    const url = await open();
    const body = JSON.stringify({ rows: [good] });
    const slow = raw(
      url,
      `POST /spct/reward HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body.slice(0, 10)}`,
      async (send) => {
        await sleep(200);
        const closing = door?.close();
        await sleep(200);
        send(body.slice(10));
        await closing;
      },
    );
    expect(await slow).toMatch(/^HTTP\/1\.1 200 [^]*"rewards":\[1\]/);
    await expect(post(url, { rows: [] })).rejects.toThrow();
  });

  it('G4: a request on a connection that is still open while the door closes gets 503', async () => {
    const url = await open();
    const body = JSON.stringify({ rows: [good] });
    const head = `POST /spct/reward HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`;
    const answers = await raw(url, head + body.slice(0, 10), async (send) => {
      await sleep(200);
      const closing = door?.close();
      await sleep(200);
      send(`${body.slice(10)}${head}${body}`);
      await closing;
    });
    expect(answers).toMatch(/^HTTP\/1\.1 200 [^]*HTTP\/1\.1 503 /);
  });

  it('tells its owner what it answered', async () => {
    const answers: unknown[] = [];
    const url = await open({ onAnswer: (answer) => answers.push(answer) });
    await post(url, { rows: [good, good] });
    await post(url, { rows: [{}] });
    await fetch(`${url}/healthz`);
    expect(answers).toEqual([
      { status: 200, rows: 2 },
      { status: 400, rows: 1 },
    ]);
  });

  it('says why it cannot listen', async () => {
    const url = await open();
    const taken = url.slice('http://'.length);
    await expect(serveSpct({ listen: taken })).rejects.toThrow(`cannot listen on ${taken}: the port is taken`);
    await expect(serveSpct({ listen: 'nowhere' })).rejects.toThrow('"nowhere" is no address of the form host:port');
  });
});

/** A connection on which nothing is said. */
function connected(url: string): Promise<Socket> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port) }, () => resolve(socket));
    socket.on('error', reject);
  });
}

/** What comes back for bytes sent as they are, until the peer closes or says a whole header. */
function raw(url: string, bytes: string, then?: (send: (more: string) => void) => Promise<void>): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port) }, () => {
      socket.write(bytes);
      then?.((more) => socket.write(more)).catch(reject);
    });
    let answer = '';
    const end = (): void => {
      resolve(answer);
      socket.destroy();
    };
    socket.on('data', (chunk: Buffer) => {
      answer += chunk.toString();
      if (!then && answer.includes('\r\n\r\n')) end();
    });
    socket.on('close', end);
    socket.on('error', reject);
  });
}
