/** Resources as objects, sidecars that take them from a file, and apps that say what reached them: for tests without a control plane. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { connect } from 'node:net';
import type { Bench, Running } from './harness.ts';

export type Resource = Readonly<Record<string, unknown>>;

export const service = (name: string, endpoints: readonly unknown[], more: Resource = {}): Resource => ({
  apiVersion: 'weft.mesh/v1',
  kind: 'Service',
  metadata: { name },
  spec: { endpoints, ...more },
});

/** Attached to the Service `cart`. */
export const route = (rules: readonly unknown[], name = 'cart', hostnames?: readonly string[]): Resource => ({
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'HTTPRoute',
  metadata: { name },
  spec: {
    parentRefs: [{ group: 'weft.mesh', kind: 'Service', name: 'cart' }],
    rules,
    ...(hostnames === undefined ? {} : { hostnames }),
  },
});

export const policy = (kind: 'Service' | 'HTTPRoute', target: string, timeouts: Resource): Resource => ({
  apiVersion: 'weft.mesh/v1',
  kind: 'TrafficPolicy',
  metadata: { name: `${target}-${kind.toLowerCase()}` },
  spec: { targetRefs: [{ kind, name: target }], timeouts },
});

/** JSON is YAML. */
export const manifest = (resources: readonly Resource[]): string =>
  resources.map((resource) => JSON.stringify(resource)).join('\n---\n');

/** A sidecar that only calls others. `web.yaml` in the bench's directory is its file. */
export const startWeb = (bench: Bench, resources: readonly Resource[], ...more: readonly string[]): Promise<Running> =>
  bench.weft([
    ...['sidecar', '--service', 'web', '--outbound', '127.0.0.1:0', '--admin', '127.0.0.1:0'],
    ...['--config', bench.file('web.yaml', manifest(resources)), ...more],
  ]);

/** A sidecar beside an app of the Service `cart`. */
export const startCart = (
  bench: Bench,
  app: string,
  resources: readonly Resource[] = [],
  inbound = '127.0.0.1:0',
  ...more: readonly string[]
): Promise<Running> =>
  bench.weft([
    ...['sidecar', '--service', 'cart', '--app', app, '--inbound', inbound, '--outbound', '127.0.0.1:0'],
    ...['--admin', '127.0.0.1:0', '--config', bench.file('cart.yaml', manifest(resources)), ...more],
  ]);

/** What an app saw of a request. */
export interface Seen {
  readonly app: string;
  readonly method: string;
  readonly url: string;
  /** Name, value, name, value: as Node's own parser read them. */
  readonly headers: readonly string[];
  readonly body: string;
}

/** An app's handler that answers with what it saw. */
export const echo =
  (app: string, onSeen: (seen: Seen) => void = () => {}) =>
  (request: IncomingMessage, response: ServerResponse): void => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('error', () => {});
    request.once('end', () => {
      const body = Buffer.concat(chunks).toString('latin1');
      const seen = { app, method: request.method!, url: request.url!, headers: request.rawHeaders, body };
      onSeen(seen);
      response.end(JSON.stringify(seen), 'latin1');
    });
  };

export const seenIn = (body: string): Seen => JSON.parse(body) as Seen;

/** All values of a field in a list of names and values. */
export function valuesOf(headers: readonly string[], lowerName: string): string[] {
  return headers.filter((_, i) => i % 2 === 1 && headers[i - 1]!.toLowerCase() === lowerName);
}

/** Sends bytes as they are and reads until the other side closes, `isWhole` says enough, or `timeoutMs` passed; latin1. */
export function exchangeBytes(
  address: string,
  text: string,
  isWhole: (answer: string) => boolean = () => false,
  timeoutMs = 5_000,
): Promise<string> {
  const [host, port] = address.split(':');
  return new Promise((resolve) => {
    let answer = '';
    const socket = connect(Number(port), host, () => socket.write(text, 'latin1'));
    const timer = setTimeout(() => socket.destroy(), timeoutMs);
    socket.on('data', (chunk) => {
      answer += chunk.toString('latin1');
      if (isWhole(answer)) socket.destroy();
    });
    socket.on('error', () => {});
    socket.once('close', () => {
      clearTimeout(timer);
      resolve(answer);
    });
  });
}
