import { describe, expect, it } from 'vitest';
import { nearest } from '../../../src/process/nearest.js';

const known = ['servers', 'token', 'user', 'password', 'storage_bytes_max', 'k', 'top_p'];

describe('nearest', () => {
  it.each([
    ['passwrod', 'password'],
    ['Password', 'password'],
    ['server', 'servers'],
    ['storage-bytes-max', 'storage_bytes_max'],
    ['storage_byte_max', 'storage_bytes_max'],
    ['topp', 'top_p'],
    ['tokne', 'token'],
  ])('%s was meant to be %s', (name, meant) => {
    expect(nearest(name, known)).toBe(meant);
  });

  it.each(['', 'colour', 'zzzzzzzz', 'replicas'])('%j was meant to be none of them', (name) => {
    expect(
      nearest(
        name,
        known.filter((each) => each.length > 1),
      ),
    ).toBeUndefined();
  });
});
