// GGUF digest: tells a model file from another one, also of the same name and size, without reading all of it: big ones take minutes.
//
// Read are the file's size, its beginning (names, sizes, the vocabulary) and blocks at even distances over the rest. A fine-tuned model
// differs from its base nearly everywhere. Where only one part in twenty does, 256 blocks miss it with a chance below one in 500,000.

import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { limits } from '../limits.js';

/** "judge-00001-of-00003.gguf" */
const part = /-(\d{5})-of-(\d{5})(\.gguf)$/i;

/** What a loaded model's file is told by; of one that is gone meanwhile nothing can be told. */
export async function ggufTraits(path: string): Promise<string> {
  return ggufDigest(path).catch(() => 'unread');
}

/** Hexadecimal. Of a model in several files, of all of them. Rejects when one cannot be read. */
export async function ggufDigest(path: string): Promise<string> {
  const digest = createHash('sha256');
  for (const file of partsOf(path)) {
    const handle = await open(file);
    try {
      const { size } = await handle.stat();
      digest.update(`${size}\n`);
      const read = async (position: number, length: number): Promise<void> => {
        const { bytesRead, buffer } = await handle.read(Buffer.alloc(length), 0, length, position);
        digest.update(buffer.subarray(0, bytesRead));
      };
      await read(0, limits.ggufHeadBytes);
      const rest = Math.max(0, size - limits.ggufHeadBytes - limits.ggufBlockBytes);
      for (let block = 1; rest > 0 && block <= limits.ggufBlocks; block++) {
        await read(limits.ggufHeadBytes + Math.floor((rest * block) / limits.ggufBlocks), limits.ggufBlockBytes);
      }
    } finally {
      await handle.close();
    }
  }
  return digest.digest('hex');
}

function partsOf(path: string): readonly string[] {
  const count = Number(part.exec(path)?.[2] ?? 1);
  if (count === 1 || count > limits.ggufPartsMax) return [path];
  return Array.from({ length: count }, (_, at) =>
    path.replace(
      part,
      (_whole, _number, of: string, end: string) => `-${String(at + 1).padStart(5, '0')}-of-${of}${end}`,
    ),
  );
}
