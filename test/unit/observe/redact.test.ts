import { inspect } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fault, FaultError } from '../../../src/fault.js';
import { limits } from '../../../src/limits.js';
import { redacted, scrubbed, snake } from '../../../src/observe/redact.js';
import { Secret } from '../../../src/process/secret.js';

const hidden = { texts: false };

describe('redact', () => {
  it.each([
    'token',
    'apiKey',
    'api_key',
    'APIKey',
    'password',
    'nats_password',
    'Authorization',
    'clientSecret',
    'creds',
    'privateKey',
    'tokens',
    'cookie',
  ])('R1: never shows what stands under %s', (name) => {
    const secret = 'hunter2hunter2';
    for (const value of [secret, [secret], { inner: secret }, new Map([['x', secret]])]) {
      expect(JSON.stringify(redacted({ [name]: value }, { texts: true }))).not.toContain(secret);
    }
  });

  it('R1: takes credentials out of addresses and headers, wherever they stand', () => {
    const text = 'connect nats://bob:pass1word@h:4222,tls://tok3n@h2 with Bearer abcdef.ghi and https://h/p?q=a@b';
    expect(scrubbed(text)).toBe(
      'connect nats://[redacted]@h:4222,tls://[redacted]@h2 with Bearer [redacted] and https://h/p?q=a@b',
    );
    expect(scrubbed('["bob:p:ass@h:4222"], x:y@[::1]:1, mail bob@h, at 10:30 a@b')).toBe(
      '["[redacted]@h:4222"], [redacted]@[::1]:1, mail bob@h, at 10:30 a@b',
    );
    const error = new Error('cannot reach nats://bob:pass1word@h:4222', {
      cause: new Error('bearer abcdefgh refused'),
    });
    expect(JSON.stringify(redacted({ error }, hidden))).not.toMatch(/pass1word|abcdefgh/);
  });

  it('leaves counts alone, whatever their name', () => {
    const counts = { promptTokens: 12, tokens: 3, responses: 2, completion: true, secret: null };
    expect(redacted(counts, hidden)).toEqual(counts);
  });

  it('R2: shows the length of texts, and the texts only when told to', () => {
    const value = {
      prompt: 'Who wrote it?',
      responses: ['He did', 'She did'],
      inner: [{ critique: 'The first is right.', messages: [{ role: 'user', content: 'hi' }] }],
      model: 'judge',
    };
    expect(redacted(value, hidden)).toEqual({
      prompt: '[13 characters]',
      responses: '[2 texts]',
      inner: [{ critique: '[19 characters]', messages: '[1 texts]' }],
      model: 'judge',
    });
    expect(redacted(value, { texts: true })).toEqual(value);
  });

  it('R2: an error of JSON.parse does not quote its input', () => {
    let error: unknown;
    try {
      JSON.parse('Once upon a time');
    } catch (caught) {
      error = caught;
    }
    expect((error as Error).message).toContain('Once');
    expect(JSON.stringify(redacted({ error }, hidden))).not.toContain('Once');
    expect(JSON.stringify(redacted({ error }, { texts: true }))).toContain('Once');
  });

  it('tells an error by type, code, fault, stack and cause', () => {
    const cause = Object.assign(new TypeError('no'), { code: 'ECONNREFUSED' });
    const error = new FaultError(fault('queue_unavailable', 'NATS is away'));
    error.cause = cause;
    expect(redacted(error, hidden)).toMatchObject({
      type: 'FaultError',
      message: 'NATS is away',
      fault: 'queue_unavailable',
      stack: expect.stringMatching(/^\s+at /) as string,
      cause: { type: 'TypeError', message: 'no', code: 'ECONNREFUSED' },
    });
  });

  it('R3: bounds length, entries and depth, and ends circles', () => {
    const long = 'x'.repeat(limits.loggedStringCharsMax + 100);
    expect(scrubbed(long)).toHaveLength(limits.loggedStringCharsMax + 1);
    const many = redacted({ list: Array.from({ length: 1_000 }, (_, i) => i) }, hidden) as { list: unknown[] };
    expect(many.list).toHaveLength(limits.loggedEntriesMax + 1);
    expect(many.list.at(-1)).toBe('[744 more]');
    const circle: Record<string, unknown> = { name: 'a' };
    circle.self = circle;
    expect(redacted(circle, hidden)).toEqual({ name: 'a', self: '[circular]' });
    let deep: unknown = 'end';
    for (let i = 0; i < 100; i++) deep = { deep };
    expect(JSON.stringify(redacted(deep, hidden))).toContain('[deep]');
  });

  it('R3: keeps the same object twice when it is no circle', () => {
    const shared = { n: 1 };
    expect(redacted({ a: shared, b: shared }, hidden)).toEqual({ a: shared, b: shared });
  });

  it('R3: goes on where a value refuses to be read', () => {
    const refuses = {
      get x(): string {
        throw new Error('no');
      },
    };
    expect(redacted({ refuses, n: 1 }, hidden)).toEqual({ refuses: '[unreadable]', n: 1 });
  });

  it('R3: whatever comes in, JSON comes out (property)', () => {
    fc.assert(
      fc.property(
        fc.anything({
          withBigInt: true,
          withDate: true,
          withMap: true,
          withSet: true,
          withTypedArray: true,
          withNullPrototype: true,
        }),
        (value) => {
          const out = JSON.stringify({ out: redacted(value, hidden) });
          expect(JSON.parse(out)).toBeTypeOf('object');
        },
      ),
    );
  });

  it('R1: no secret comes through, however deep it stands (property)', () => {
    const secret = 'S3CR3T-v4lue';
    const holder = fc.letrec((tie) => ({
      node: fc.oneof(
        { depthSize: 'small' },
        fc.constantFrom('token', 'apiKey', 'password').map((name) => ({ [name]: secret })),
        fc.constant({ key: new Secret(secret) }),
        fc.array(tie('node'), { minLength: 1, maxLength: 3 }),
        fc.dictionary(fc.string({ maxLength: 5 }), tie('node'), { maxKeys: 3 }),
      ),
    })).node;
    fc.assert(fc.property(holder, (value) => !JSON.stringify(redacted({ value }, { texts: true })).includes(secret)));
  });
});

describe('Secret', () => {
  it('prints as [redacted] everywhere and reveals itself when asked', () => {
    const secret = new Secret('hunter2');
    const shown = [
      String(secret),
      secret.toString(),
      JSON.stringify({ secret }),
      inspect({ secret }, { depth: 9 }),
      inspect(secret),
    ];
    for (const text of shown) {
      expect(text).toContain('[redacted]');
      expect(text).not.toContain('hunter2');
    }
    expect(Object.keys(secret)).toEqual([]);
    expect(secret.reveal()).toBe('hunter2');
  });
});

describe('snake', () => {
  it.each([
    ['requestId', 'request_id'],
    ['k', 'k'],
    ['kMeta', 'k_meta'],
    ['apiKey', 'api_key'],
    ['APIKey', 'api_key'],
    ['already_snake', 'already_snake'],
    ['caFile', 'ca_file'],
    ['gpusPerEngine', 'gpus_per_engine'],
    ['baseURL', 'base_url'],
  ])('%s is %s', (camel, outer) => {
    expect(snake(camel)).toBe(outer);
  });
});
