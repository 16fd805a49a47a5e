import { describe, expect, it } from 'vitest';
import { isLoopback, listenText, parseListen } from '../../../src/observe/listen.js';

describe('listen addresses', () => {
  it.each([
    ['127.0.0.1:9464', { host: '127.0.0.1', port: 9464 }],
    ['0.0.0.0:0', { host: '0.0.0.0', port: 0 }],
    ['[::1]:80', { host: '::1', port: 80 }],
    ['my-host_1.local:65535', { host: 'my-host_1.local', port: 65_535 }],
  ])('%s is read and written back', (text, address) => {
    expect(parseListen(text)).toEqual(address);
    expect(listenText(address)).toBe(text);
  });

  it.each([
    '',
    ':80',
    '127.0.0.1',
    '127.0.0.1:',
    '127.0.0.1:65536',
    '::1:80',
    '[zz]:80',
    '[127.0.0.1]:80',
    'a b:80',
    'http://h:80',
    'h:80/x',
    'h:-1',
  ])('%j is none', (text) => {
    expect(parseListen(text)).toBeUndefined();
  });

  it.each([
    ['localhost', true],
    ['127.0.0.1', true],
    ['127.8.9.1', true],
    ['::1', true],
    ['0.0.0.0', false],
    ['::', false],
    ['10.0.0.1', false],
    ['127.evil.example', false],
  ])('%s is loopback: %s', (host, expected) => {
    expect(isLoopback(host)).toBe(expected);
  });
});
