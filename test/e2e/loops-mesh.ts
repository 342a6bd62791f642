/** What the tests of sidecars with several event loops look at: who served how much, and whom fresh connections reach. */
import { Agent } from 'node:http';
import { connect as connectTls } from 'node:tls';
import { call, type Reply, type Running } from './harness.ts';

/** `--loops N` */
export const withLoops = (loops: number): readonly string[] => ['--loops', String(loops)];

/** Values of a metric in the order of its lines, which for `{loop}` is the order of the loops. */
export async function valuesOf({ ready }: Running, name: string): Promise<readonly number[]> {
  const { body } = await call(ready.admin, 'admin', '/metrics');
  return [...body.matchAll(new RegExp(`^${name}(?:\\{[^\\n]*\\})? (\\S+)$`, 'gm'))].map(([, value]) => Number(value));
}

export const sumOf = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0);

/** How many requests each loop has finished. */
export const served = (sidecar: Running): Promise<readonly number[]> => valuesOf(sidecar, 'weft_loop_requests_total');

interface LoopState {
  readonly loop: number;
  readonly link?: string;
  readonly revision: number;
}

export async function loopsOf({ ready }: Running): Promise<readonly LoopState[]> {
  const { body } = await call(ready.admin, 'admin', '/config');
  return (JSON.parse(body) as { readonly loops: readonly LoopState[] }).loops;
}

/** `count` requests, each on a connection of its own, all at once: the kernel spreads them over the loops. */
export async function onFreshConnections(
  address: string,
  count: number,
  ask: (i: number) => { readonly host: string; readonly path?: string },
): Promise<readonly Reply[]> {
  const agent = new Agent({ keepAlive: false, maxSockets: count });
  const replies = await Promise.all(
    Array.from({ length: count }, (_, i) => {
      const { host, path = '/' } = ask(i);
      return call(address, host, path, { agent });
    }),
  );
  agent.destroy();
  return replies;
}

/** How often each outcome came: the body, or the status with its failure. */
export function tally(replies: readonly Reply[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { status, headers, body } of replies) {
    const outcome = status === 200 ? body : `${status} ${headers['weft-failure'] ?? ''}`;
    counts[outcome] = (counts[outcome] ?? 0) + 1;
  }
  return counts;
}

/** SHA-256 of the certificate that a link port shows. */
export function certificateAt(address: string): Promise<string> {
  const [host, port] = address.split(':');
  return new Promise((resolve, reject) => {
    const socket = connectTls(
      { host: host!, port: Number(port), ALPNProtocols: ['weft/1'], rejectUnauthorized: false },
      () => {
        resolve(socket.getPeerCertificate().fingerprint256);
        socket.destroy();
      },
    );
    socket.on('error', reject);
  });
}
