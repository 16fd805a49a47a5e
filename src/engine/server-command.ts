// The command line of a managed server. Pure.

export interface CommandOptions {
  /**
   * Program and first arguments. {model}, {port}, {gpus} ("0,1") and {tp} (their number, at least 1) are filled in; a command that names none
   * of them is taken for `vllm serve` or its like, and the model, host, port and tensor parallelism follow it.
   */
  readonly command: readonly string[];
  /** Further arguments, at the end; filled in too. */
  readonly args: readonly string[];
  readonly model: string;
  readonly port: number;
  readonly gpus: readonly number[];
}

export const vllmCommand: readonly string[] = ['vllm', 'serve'];

const vllmTail = ['{model}', '--host', '127.0.0.1', '--port', '{port}', '--tensor-parallel-size', '{tp}'];

/** Other braces stay as they are: servers take JSON as arguments. */
const place = /\{(model|port|gpus|tp)\}/g;

export function serverCommand({ command, args, model, port, gpus }: CommandOptions): readonly string[] {
  const values: Readonly<Record<string, string>> = {
    model,
    port: String(port),
    gpus: gpus.join(','),
    tp: String(Math.max(1, gpus.length)),
  };
  const whole = command.some((part) => part.search(place) >= 0) ? command : [...command, ...vllmTail];
  return [...whole, ...args].map((part) => part.replace(place, (_, name: string) => values[name]!));
}
