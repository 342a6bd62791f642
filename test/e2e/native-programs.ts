/** The programs of native-bench/ for tests: a client and apps that take so little themselves that what is measured is the sidecars'. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Bench } from './harness.ts';

const programs = fileURLToPath(new URL('../../native-bench/build/', import.meta.url));

export interface NativeOptions {
  /** Before others for a core: who waits for one himself takes that for the sidecars' time. Without the right to it, nice(1) warns and goes on. */
  readonly isFirst?: boolean;
}

const wordsOf = (program: string, flags: readonly string[], { isFirst = false }: NativeOptions): [string, string[]] => {
  const path = `${programs}${program}`;
  return isFirst ? ['nice', ['-n', '-10', path, ...flags]] : [path, [...flags]];
};

/** What a load came to, as far as tests read it (native-bench/README.md). */
export interface LoadFigures {
  readonly requests: number;
  readonly p99Us: number;
  readonly cpuSeconds: number;
}

/** Starts an app; `buildNativeBench` was called before. It ends with the bench. */
export async function startNative(
  bench: Bench,
  program: 'upstream' | 'relay',
  flags: readonly string[],
  options: NativeOptions = {},
): Promise<{ readonly address: string; readonly pid: number }> {
  const child = spawn(...wordsOf(program, flags, options), { stdio: ['ignore', 'pipe', 'inherit'] });
  bench.onClose(() => void child.kill('SIGKILL'));
  const ended = once(child, 'exit').then(() => {
    throw new Error(`${program} ended before it was ready`);
  });
  ended.catch(() => {});
  const [line] = (await Promise.race([once(createInterface(child.stdout), 'line'), ended])) as [string];
  return { address: `127.0.0.1:${(JSON.parse(line) as { port: number }).port}`, pid: child.pid! };
}

/** Runs the load generator to its end. Rejects when a request failed. */
export async function nativeLoad(
  address: string,
  flags: Readonly<Record<string, string | number>>,
  options: NativeOptions = {},
): Promise<LoadFigures> {
  const [host, port] = address.split(':');
  const words = Object.entries({ address: host, port, ...flags }).flatMap(([name, value]) => [
    `--${name}`,
    String(value),
  ]);
  const { stdout } = await promisify(execFile)(...wordsOf('load', words, options));
  const figures = JSON.parse(stdout) as LoadFigures & { readonly failures: number; readonly firstFailure: string };
  if (figures.failures > 0) throw new Error(`${figures.failures} requests failed, the first: ${figures.firstFailure}`);
  return figures;
}
