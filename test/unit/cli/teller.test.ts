import { PassThrough } from 'node:stream';
import pc from 'picocolors';
import { expect, it } from 'vitest';
import { openTeller, type Notice, type Waiting } from '../../../src/cli/notice.js';

const waiting: Waiting = {
  event: 'waiting',
  workers: 0,
  workers_wanted: 1,
  meta_workers: 0,
  meta_workers_wanted: 0,
  elapsed_seconds: 7,
  processes: [],
  engines: [],
};
const stopped: Notice = { event: 'stopped' };

function opened(json: boolean, isTTY: boolean) {
  const written = { text: '', json: '' };
  const stream = Object.assign(new PassThrough(), { isTTY, columns: 30 });
  const jsonStream = new PassThrough();
  stream.on('data', (chunk: Buffer) => (written.text += chunk.toString()));
  jsonStream.on('data', (chunk: Buffer) => (written.json += chunk.toString()));
  return { teller: openTeller({ json, stream, jsonStream, paint: pc.createColors(false) }), written };
}

it('tells plain lines in a pipe', () => {
  const { teller, written } = opened(false, false);
  teller.tell(waiting);
  teller.tell(stopped);
  teller.pass('as it is');
  expect(written).toEqual({ text: 'waiting 0:07: 0 of 1 workers serve\nstopped\nas it is\n', json: '' });
});

it('on a terminal keeps the waiting on one line of its width, until the next word', () => {
  const { teller, written } = opened(false, true);
  teller.tell(waiting);
  teller.tell(stopped);
  expect(written.text).toBe('\r\u001b[Kwaiting 0:07: 0 of 1 workers…\r\u001b[Kstopped\n');
});

it('with --json tells one object a line', () => {
  const { teller, written } = opened(true, true);
  teller.tell(waiting);
  teller.tell(stopped);
  expect(written.text).toBe('');
  expect(
    written.json
      .split('\n')
      .slice(0, -1)
      .map((line): unknown => JSON.parse(line)),
  ).toEqual([waiting, stopped]);
});
