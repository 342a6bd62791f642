/** A control plane whose pushes arrive late: its API as it is, but for the push port that it names, which is behind a slow network. */
import { request as httpRequest } from 'node:http';
import type { Bench, Running } from './harness.ts';
import { TcpProxy } from './tcp-proxy.ts';

export interface SlowPush {
  /** For `--control-plane`, as HOST:PORT. */
  readonly api: string;
  /** Between the sidecars and the push port; without delay until a test sets one. */
  readonly line: TcpProxy;
}

export async function behindSlowPush(bench: Bench, { ready }: Running): Promise<SlowPush> {
  const line = await TcpProxy.before(ready.push);
  bench.onClose(() => line.close());
  const [hostname, port] = ready.api.split(':');
  const front = await bench.app((request, response) => {
    const { method, url, headers } = request;
    const outgoing = httpRequest({ hostname, port, method, path: url, headers }, (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
      incoming.once('end', () => {
        const text = Buffer.concat(chunks).toString();
        const body = url === '/v1/bootstrap' ? text.replace(ready.push, line.address) : text;
        response.writeHead(incoming.statusCode!, { 'content-type': incoming.headers['content-type'] ?? '' });
        response.end(body);
      });
    });
    outgoing.once('error', () => response.destroy());
    request.pipe(outgoing);
  });
  return { api: front.address, line };
}
