/**
 * A control plane that has lost its mind: its API as it is, but what it pushes goes through here, where a test changes it. It stands for a fault of
 * the control plane or of its version, since what it compiles itself before it commits is refused to whoever writes it.
 */
import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import WebSocket, { WebSocketServer } from 'ws';
import {
  decodeChangeSet,
  decodeControlFrame,
  encodeChangeSet,
  encodeControlFrame,
} from '../../src/wire/control-frame.ts';
import { decodeChange, encodeChange, type ObjectChange } from '../../src/wire/resource-codec.ts';
import type { Bench, Running } from './harness.ts';

export interface SpoiltPush {
  /** For `--control-plane`, as HOST:PORT. */
  readonly api: string;
  /** What becomes of each object on its way to the sidecars; null: it goes as it is. */
  spoil: ((change: ObjectChange) => ObjectChange) | null;
}

export async function behindSpoiltPush(bench: Bench, { ready }: Running): Promise<SpoiltPush> {
  const front: { api: string; spoil: SpoiltPush['spoil'] } = { api: '', spoil: null };
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, path: '/v1/push' });
  await once(server, 'listening');
  bench.onClose(() => {
    for (const client of server.clients) client.terminate();
    server.close();
  });
  server.on('connection', (near, { headers: { authorization } }) => {
    const headers = authorization === undefined ? {} : { authorization };
    const far = new WebSocket(`ws://${ready.push}/v1/push`, { headers, perMessageDeflate: false });
    const early: Buffer[] = [];
    near.on('message', (bytes: Buffer) => {
      if (far.readyState === WebSocket.OPEN) far.send(bytes);
      else early.push(bytes);
    });
    far.once('open', () => {
      for (const bytes of early) far.send(bytes);
    });
    far.on('message', (bytes: Buffer) => near.send(front.spoil === null ? bytes : spoilt(bytes, front.spoil)));
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.on('error', () => to.terminate());
      from.once('close', () => to.terminate());
    }
  });
  const { port: pushPort } = server.address() as { port: number };
  const [hostname, port] = ready.api.split(':');
  const { address } = await bench.app((request, response) => {
    const { method, url, headers } = request;
    const outgoing = httpRequest({ hostname, port, method, path: url, headers }, (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
      incoming.once('end', () => {
        const text = Buffer.concat(chunks).toString();
        const body = url === '/v1/bootstrap' ? text.replace(ready.push, `127.0.0.1:${pushPort}`) : text;
        response.writeHead(incoming.statusCode!, { 'content-type': incoming.headers['content-type'] ?? '' });
        response.end(body);
      });
    });
    outgoing.once('error', () => response.destroy());
    request.pipe(outgoing);
  });
  front.api = address;
  return front;
}

function spoilt(bytes: Buffer, spoil: (change: ObjectChange) => ObjectChange): Uint8Array {
  const frame = decodeControlFrame(bytes);
  if (frame.tag !== 'push') return bytes;
  const { revision, changes, hosts } = decodeChangeSet(frame.changeSet);
  const changed = changes.map((encoded) => encodeChange(spoil(decodeChange(encoded))));
  return encodeControlFrame({ ...frame, changeSet: encodeChangeSet({ revision, changes: changed, hosts }) });
}
