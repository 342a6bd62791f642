/** A call between two sidecars, and time that is planted into one part of it: how to plant it, and in whose ledger it has to show. */
import { EventEmitter, once } from 'node:events';
import { Agent, request as httpRequest, type RequestListener, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { expect } from 'vitest';
import { limits } from '../../src/model/limits.ts';
import type { RecentAnswer, RecentRequest } from '../../src/model/recent-request.ts';
import { type Part, parts } from '../../src/telemetry/recorder.ts';
import { type Bench, call, type Running, until } from './harness.ts';
import { manifest, service } from './static-mesh.ts';
import { TcpProxy } from './tcp-proxy.ts';

export const plantedMs = 20;
type Statistic = (values: readonly number[]) => number;
const median: Statistic = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
const least: Statistic = (values) => Math.min(...values);

/** How it is judged what requests with planted time have more than those without. */
export interface Judgement {
  /** Requests of either kind. */
  readonly tries: number;
  /** What the parts that own the planted time must have more of by the median, at least: the clocks of who plants and who measures do not begin at once. */
  readonly foundMs: number;
  /** What any other part must have less of. */
  readonly strayMs: number;
  /** By which value. */
  readonly strayBy: Statistic;
}
export const strictly: Judgement = { tries: 25, foundMs: 15, strayMs: 3, strayBy: median };
/** For a machine that other tests use, where any part of a call may be long, and a short block be over before its request comes. */
export const leniently: Judgement = { tries: 7, foundMs: 10, strayMs: 10, strayBy: least };

export interface PlantedMesh {
  readonly web: Running;
  readonly cart: Running;
  /** On the link between them. */
  readonly line: TcpProxy;
  /** Kept connections to web. */
  readonly agent: Agent;
  /** Says the path of a request when cart's app has the first of its body. */
  readonly begun: EventEmitter;
  /** Answers of the app behind the full pool that are held back. */
  readonly held: ServerResponse[];
}

export interface Planting {
  /** Of the requests' path, too. */
  readonly name: string;
  /** The parts of web's ledger that may have it; all others may not. */
  readonly web: readonly Part[];
  /** Of cart's; absent: it is not asked. */
  readonly cart?: readonly Part[];
  /** One request with this path, and so much time planted into it. */
  send(mesh: PlantedMesh, path: string, ms: number): Promise<void>;
}

/** Under this path's last segment: after how many ms. */
const msOf = (path: string): number => Number(path.slice(path.lastIndexOf('/') + 1));
/** More than the kernel takes for a reader who does not read: 4 MiB at most (tcp(7), tcp_wmem). After `stuckMs` nothing of it moves any more. */
const largeBody = Buffer.alloc(5 * 1024 * 1024, 'x');
const stuckMs = 100;

const cartApp =
  (begun: EventEmitter): RequestListener =>
  (request, response) => {
    const path = request.url!;
    request.once('data', () => begun.emit(path));
    request.resume();
    request.once('end', () => {
      if (path.startsWith('/delay/')) setTimeout(() => response.end('late'), msOf(path));
      else if (path.startsWith('/slow-answer/')) {
        response.write('first');
        setTimeout(() => response.end('last'), msOf(path));
      } else response.end('at once');
    });
  };

/** `more`: flags of web. */
export async function startPlantedMesh(bench: Bench, more: readonly string[] = []): Promise<PlantedMesh> {
  const spoilt = (connectMs: number) => ({
    NODE_OPTIONS: `--import ${new URL('spoilt-node.mjs', import.meta.url)}`,
    SPOILT_BLOCK_MS: String(plantedMs),
    SPOILT_CONNECT_MS: String(connectMs),
  });
  const held: ServerResponse[] = [];
  const begun = new EventEmitter();
  const app = await bench.app(cartApp(begun));
  // Each of its connections serves one request.
  const distant = await bench.app((_, response) => response.writeHead(200, { connection: 'close' }).end('at once'));
  const full = await bench.app((request, response) => {
    if (request.url === '/hold') held.push(response);
    else response.end(request.url!.startsWith('/slow-reader/') ? largeBody : 'at once');
  });
  const listeners = ['--admin', '127.0.0.1:0', '--outbound', '127.0.0.1:0', '--insecure-link'];
  const own = [
    '--app',
    app.address,
    '--link',
    '127.0.0.1:0',
    '--config',
    bench.file('cart.yaml', manifest([service('cart', [])])),
  ];
  const cart = await bench.weft(['sidecar', '--service', 'cart', ...own, ...listeners], spoilt(0));
  const line = await TcpProxy.before(cart.ready.link);
  bench.onClose(() => line.close());
  const resources = [
    service('cart', [{ address: cart.ready.link, link: line.address }]),
    service('distant', [distant.address]),
    service('full', [full.address]),
  ];
  const file = ['--config', bench.file('web.yaml', manifest(resources))];
  const web = await bench.weft(['sidecar', '--service', 'web', ...file, ...listeners, ...more], spoilt(plantedMs));
  const agent = new Agent({ keepAlive: true });
  bench.onClose(() => agent.destroy());
  await until('cart answers', async () => (await call(web.ready.outbound, 'cart', '/', { agent })).status === 200);
  return { web, cart, line, agent, begun, held };
}

const get = async ({ web, agent }: PlantedMesh, path: string, host = 'cart'): Promise<void> => {
  const { status } = await call(web.ready.outbound, host, path, { agent });
  expect(status).toBe(200);
};

/** The event loop is blocked when this resolves, and was not before. */
async function block({ process: child }: Running): Promise<void> {
  const blocked = once(child.stdout!, 'data');
  child.kill('SIGUSR2');
  await blocked;
}

/** Sends its body in two halves, on a connection of its own: the second one so long after the app has the first. */
function sendSlowly({ web, begun }: PlantedMesh, path: string, ms: number): Promise<void> {
  const [hostname, port] = web.ready.outbound.split(':');
  return new Promise((resolve, reject) => {
    const headers = { host: 'cart', 'content-length': '10' };
    const outgoing = httpRequest({ hostname, port, path, method: 'POST', headers, agent: false }, (incoming) =>
      incoming.resume().once('end', resolve),
    );
    outgoing.once('error', reject);
    outgoing.write('01234');
    begun.once(path, () => setTimeout(() => outgoing.end('56789'), ms));
  });
}

/** Reads nothing until everything is stuck, and then for a while. */
async function readSlowly({ web }: PlantedMesh, path: string, ms: number): Promise<void> {
  const [host, port] = web.ready.outbound.split(':');
  const socket = connect({ host, port: Number(port) });
  socket.write(`GET ${path} HTTP/1.1\r\nHost: full\r\nConnection: close\r\n\r\n`);
  await once(socket, 'readable');
  await new Promise((resolve) => setTimeout(resolve, stuckMs + ms));
  let bytes = 0;
  socket.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
  });
  socket.resume();
  await once(socket, 'close');
  expect(bytes).toBeGreaterThan(largeBody.length);
}

/** Waits for a connection while all are in use, until one of them is free. */
async function queue(mesh: PlantedMesh, path: string, ms: number): Promise<void> {
  const { web, agent, held } = mesh;
  for (let missing = limits.poolConnectionsMax - held.length; missing > 0; missing--)
    call(web.ready.outbound, 'full', '/hold', { agent, timeoutMs: 120_000 }).catch(() => {});
  await until('the pool is full', () => held.length === limits.poolConnectionsMax, 60_000);
  const waiting = get(mesh, path, 'full');
  setTimeout(() => held.pop()!.end('held'), ms);
  await waiting;
}

export const plantings: readonly Planting[] = [
  { name: 'delay', web: ['wait'], cart: ['wait'], send: (mesh, path) => get(mesh, path) },
  { name: 'slow-answer', web: ['transfer'], cart: ['transfer'], send: (mesh, path) => get(mesh, path) },
  { name: 'slow-reader', web: ['transfer'], send: readSlowly },
  { name: 'slow-body', web: ['send'], cart: ['send'], send: sendSlowly },
  {
    name: 'slow-network',
    web: ['network'],
    cart: [],
    send: async (mesh, path, ms) => {
      mesh.line.delayToTargetMs = ms;
      await get(mesh, path);
      mesh.line.delayToTargetMs = 0;
    },
  },
  {
    name: 'blocked-caller',
    web: ['loop'],
    cart: [],
    send: async (mesh, path, ms) => {
      if (ms > 0) await block(mesh.web);
      await get(mesh, path);
    },
  },
  {
    name: 'blocked-callee',
    // Where the far loop could not tell that it kept the request waiting, that is the network's.
    web: ['wait', 'network'],
    cart: ['loop'],
    send: async (mesh, path, ms) => {
      if (ms > 0) await block(mesh.cart);
      await get(mesh, path);
    },
  },
  {
    name: 'slow-connect',
    web: ['connect'],
    // Without it: on a connection that is there.
    send: (mesh, path, ms) => get(mesh, path, ms > 0 ? 'distant' : 'cart'),
  },
  { name: 'full-pool', web: ['queue'], send: queue },
];

// --- What the ledgers say ---------------------------------------------------------------------------------------------------------

async function requestsOf(sidecar: Running, path: string, count: number): Promise<readonly RecentRequest[]> {
  let found: readonly RecentRequest[] = [];
  await until(`${count} of ${path} have ended`, async () => {
    const { body } = await call(sidecar.ready.admin, 'admin', '/requests?limit=256');
    found = (JSON.parse(body) as RecentAnswer).requests.filter((each) => each.path === path);
    return found.length === count;
  });
  for (const { totalMs, partsMs } of found)
    expect(Object.values(partsMs).reduce((sum, ms) => sum + ms, 0)).toBeCloseTo(totalMs, 1);
  return found;
}

type TimesByPart = Readonly<Record<Part, number>>;

const timesOf = (requests: readonly RecentRequest[], part: Part): number[] =>
  requests.map(({ partsMs }) => partsMs[part] ?? 0);

/** Sends requests with the time planted and as many without, in turn: what the planted ones have more is in the parts it belongs to. */
export async function expectWhereItBelongs(
  mesh: PlantedMesh,
  { name, send, ...owners }: Planting,
  { tries, foundMs, strayMs, strayBy }: Judgement,
): Promise<Record<string, TimesByPart>> {
  const [without, planted] = [`/${name}/0`, `/${name}/${plantedMs}`];
  // The first of a kind is compiled as it runs.
  await send(mesh, `/${name}/00`, 0);
  for (let i = 0; i < tries; i++) {
    await send(mesh, without, 0);
    await send(mesh, planted, plantedMs);
  }
  const more: Record<string, TimesByPart> = {};
  for (const hop of ['web', 'cart'] as const) {
    const owning = owners[hop];
    if (owning === undefined) continue;
    const [base, spoilt] = await Promise.all([without, planted].map((path) => requestsOf(mesh[hop], path, tries)));
    const moreMs = Object.fromEntries(
      parts.map((part) => {
        const by = owning.includes(part) ? median : strayBy;
        return [part, Number((by(timesOf(spoilt!, part)) - by(timesOf(base!, part))).toFixed(3))];
      }),
    ) as TimesByPart;
    more[hop] = moreMs;
    const said = `${name} at ${hop}: ${JSON.stringify(moreMs)}`;
    for (const part of parts) if (!owning.includes(part)) expect(moreMs[part], said).toBeLessThan(strayMs);
    if (owning.length > 0)
      expect(
        owning.reduce((sum, part) => sum + moreMs[part], 0),
        said,
      ).toBeGreaterThan(foundMs);
  }
  return more;
}
