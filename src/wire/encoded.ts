// Encoded: messages as bytes, all through one writer. A writer of its own for each message would begin with a small buffer and grow it to the
// message's size, copy by copy: a tenth of what a worker does (measured).

import { BinaryWriter } from '@bufbuild/protobuf/wire';

interface Encoder<T> {
  encode(message: T, writer: BinaryWriter): BinaryWriter;
}

/** A writer that had to grow for a larger message is not kept, bytes. */
const keptBytesMax = 256 * 1024;

let writer = new BinaryWriter();

/** Throws what the encoder throws. Encoders must not call it. */
export function encoded<T>(encoder: Encoder<T>, message: T): Uint8Array {
  const its = writer;
  // What a throwing encoder leaves in its writer is nobody's.
  writer = new BinaryWriter();
  const bytes = encoder.encode(message, its).finish();
  if (bytes.length <= keptBytesMax) writer = its;
  return bytes;
}
