// Plain HTTP replies in vLLM's shapes.
import type { IncomingMessage, ServerResponse } from 'node:http';

export function sendJson(
  res: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  res.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
}

const errorTypes: Readonly<Record<number, string>> = {
  400: 'BadRequestError',
  404: 'NotFoundError',
  413: 'RequestEntityTooLarge',
  429: 'RateLimitError',
  500: 'InternalServerError',
  503: 'ServiceUnavailableError',
};

/** vLLM's error body: `{"error": {"message", "type", "param", "code"}}`. */
export function sendError(
  res: ServerResponse,
  status: number,
  message: string,
  more: { readonly param?: string; readonly headers?: Record<string, string> } = {},
): void {
  const type = errorTypes[status] ?? 'Error';
  sendJson(res, status, { error: { message, type, param: more.param ?? null, code: status } }, more.headers);
}

export type Body =
  { readonly kind: 'json'; readonly value: unknown } | { readonly kind: 'too_large' } | { readonly kind: 'not_json' };

export async function readJson(req: IncomingMessage, bytesMax: number): Promise<Body> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of req as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > bytesMax) return { kind: 'too_large' };
    parts.push(part);
  }
  try {
    return { kind: 'json', value: JSON.parse(Buffer.concat(parts).toString('utf8')) as unknown };
  } catch {
    return { kind: 'not_json' };
  }
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
