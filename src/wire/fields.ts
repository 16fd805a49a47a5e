// Fields: messages put together from submessages that are encoded already.

import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';

/** SampleAppend.samples and MetaAppend.results. */
const appended = 1;
const empty = new Uint8Array(0);

export function withField(message: Uint8Array, number: number, content: Uint8Array | undefined): Uint8Array {
  return content === undefined ? message : withFields(message, number, [[content]]);
}

/** The message with these submessages of one field behind it, each of them in pieces. One allocation. @param number 1..15 */
export function withFields(
  message: Uint8Array,
  number: number,
  submessages: readonly (readonly Uint8Array[])[],
): Uint8Array {
  let length = message.length;
  for (const pieces of submessages) {
    const bytes = lengthOf(pieces);
    length += 1 + varintBytes(bytes) + bytes;
  }
  const joined = new Uint8Array(length);
  joined.set(message);
  let at = message.length;
  for (const pieces of submessages) {
    joined[at++] = (number << 3) | WireType.LengthDelimited;
    let rest = lengthOf(pieces);
    for (; rest > 0x7f; rest >>>= 7) joined[at++] = (rest & 0x7f) | 0x80;
    joined[at++] = rest;
    for (const piece of pieces) {
      joined.set(piece, at);
      at += piece.length;
    }
  }
  return joined;
}

function lengthOf(pieces: readonly Uint8Array[]): number {
  let length = 0;
  for (const piece of pieces) length += piece.length;
  return length;
}

function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest > 0x7f; rest >>>= 7) bytes += 1;
  return bytes;
}

/** An append to a lane: results as they were encoded. */
export function encodeAppend(results: readonly Uint8Array[]): Uint8Array {
  return withFields(
    empty,
    appended,
    results.map((each) => [each]),
  );
}

/** The results in it, undecoded. Throws on anything else. */
export function decodeAppend(bytes: Uint8Array): readonly Uint8Array[] {
  const reader = new BinaryReader(bytes);
  const found: Uint8Array[] = [];
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag();
    if (number !== appended || wireType !== WireType.LengthDelimited) {
      throw new RangeError(`append: field ${number} of wire type ${wireType} is not known`);
    }
    found.push(reader.bytes());
  }
  if (found.length === 0) throw new RangeError('append: it is empty');
  return found;
}
