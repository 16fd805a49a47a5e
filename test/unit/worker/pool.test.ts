import { expect, test } from 'vitest';
import { EnginePool, type Seat } from '../../../src/worker/pool.js';

function seat(name: string, slots: number, up = true): Seat<string> & { up: boolean } {
  const own = { name, slots, up, current: () => (own.up ? name : undefined) };
  return own;
}

test('the engine with the largest share of free slots takes the next job', () => {
  const pool = new EnginePool([seat('small', 4), seat('big', 16)]);
  const taken: string[] = [];
  for (let i = 0; i < 10; i++) taken.push(pool.reserve(2)!.engine);
  expect(taken.filter((name) => name === 'big')).toHaveLength(8);
  expect(pool.taken('small')).toBe(4);
  expect(pool.taken('big')).toBe(16);
});

test('an engine that is not wanted is passed over, also when it is the only one', () => {
  const pool = new EnginePool([seat('a', 8), seat('b', 4)]);
  expect(pool.reserve(1, 'a')?.engine).toBe('b');
  expect(new EnginePool([seat('a', 8)]).reserve(1, 'a')).toBeUndefined();
  expect(pool.reserve(4, 'a')).toBeUndefined();
  expect(pool.reserve(3, 'a')?.engine).toBe('b');
});

test('a release counts once', () => {
  const pool = new EnginePool([seat('a', 8)]);
  const reserved = pool.reserve(3)!;
  reserved.release();
  reserved.release();
  expect(pool.taken('a')).toBe(0);
});

test('slots are given back one by one, and the rest at the end', () => {
  const pool = new EnginePool([seat('a', 8)]);
  const reserved = pool.reserve(3)!;
  reserved.free();
  expect(pool.taken('a')).toBe(2);
  for (let time = 0; time < 5; time++) reserved.free();
  expect(pool.taken('a')).toBe(0);
  pool.reserve(1);
  reserved.release();
  expect(pool.taken('a')).toBe(1);
});

test('slots and reservations follow the engines that serve now', () => {
  const [a, b] = [seat('a', 8), seat('b', 4)];
  const pool = new EnginePool([a, b]);
  expect(pool.slots()).toBe(12);
  a.up = false;
  expect(pool.slots()).toBe(4);
  expect(pool.serving()).toEqual(['b']);
  expect(pool.reserve(1)?.engine).toBe('b');
  b.up = false;
  expect(pool.slots()).toBe(0);
  expect(pool.reserve(1)).toBeUndefined();
});

test('an override of the slots holds while anything serves', () => {
  const a = seat('a', 8);
  const pool = new EnginePool([a]);
  pool.setSlots(3);
  expect(pool.slots()).toBe(3);
  a.up = false;
  expect(pool.slots()).toBe(0);
});
