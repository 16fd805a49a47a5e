// Fields: the kinds of values that settings have, each with its description. What every setting shares stands here; schema.ts and engines.ts name them.

import { z } from 'zod';
import { parseListen } from '../observe/listen.js';
import { Secret } from './secret.js';

/** Keeps the description with the schema: docs/configuration.md and `--help` read it there. Call it last, wrappers lose it. */
export function told<T extends z.ZodType>(schema: T, description: string, type?: string): T {
  return schema.meta(type === undefined ? { description } : { description, type });
}

export const text = z.string().min(1);
/** A name that is one NATS subject token. */
export const poolName = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, 'must be 1 to 64 letters, digits, "-" or "_"');
export const listenAddress = z
  .string()
  .refine((value) => parseListen(value) !== undefined, 'must be "host:port" or "[v6]:port"');
export const httpUrl = z.string().refine(isHttpUrl, 'must be an http:// or https:// address');
export const natsUrl = z
  .string()
  .regex(/^((nats|tls|ws|wss):\/\/)?\S+$/, 'must be an address such as nats://host:4222');
export const secret = z
  .string()
  .min(1)
  .transform((value) => new Secret(value));

/** A whole number of `min`..`max`. */
export function whole(min: number, max: number, fallback: number, description: string): z.ZodDefault<z.ZodInt> {
  return told(z.int().min(min).max(max).default(fallback), description);
}

/** A number of `min`..`max`. */
export function real(min: number, max: number, fallback: number, description: string): z.ZodDefault<z.ZodNumber> {
  return told(z.number().min(min).max(max).default(fallback), description);
}

export function flag(fallback: boolean, description: string): z.ZodDefault<z.ZodBoolean> {
  return told(z.boolean().default(fallback), description);
}

export function choice<const V extends readonly [string, ...string[]]>(
  values: V,
  fallback: V[number],
  description: string,
): z.ZodDefault<z.ZodEnum<{ [K in V[number]]: K }>> {
  const schema = z.enum(values);
  return told(schema.default(fallback), description);
}

export function optional<T extends z.ZodType>(schema: T, description: string, type?: string): z.ZodExactOptional<T> {
  return told(schema.exactOptional(), description, type);
}

export function list<T extends z.ZodType>(
  item: T,
  max: number,
  fallback: z.output<T>[],
  description: string,
): z.ZodDefault<z.ZodArray<T>> {
  return told(
    z
      .array(item)
      .max(max)
      .default(fallback as never),
    description,
  );
}

function isHttpUrl(value: string): boolean {
  try {
    return ['http:', 'https:'].includes(new URL(value).protocol);
  } catch {
    return false;
  }
}
