// GGUF file: is a path one at all? llama.cpp's own words for anything else are hard to read, and come late.

import { open } from 'node:fs/promises';

/** Throws an Error in words when the file cannot be read or is something else. */
export async function checkGguf(path: string): Promise<void> {
  const file = await open(path).catch((error: unknown) => {
    throw new Error(`the model file cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  });
  try {
    const { buffer } = await file.read(Buffer.alloc(4), 0, 4, 0);
    if (buffer.toString('latin1') !== 'GGUF') throw new Error(`${path} is not a GGUF file`);
  } finally {
    await file.close();
  }
}
