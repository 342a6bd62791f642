/** A mesh in which failures of every kind are planted, one by one; each answers under which id, and of which sidecar, it can be asked for. */
import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { Agent, request as httpRequest, type RequestListener } from 'node:http';
import { createServer } from 'node:net';
import type { SigningRoot } from '../../src/identity/root.ts';
import { limits } from '../../src/model/limits.ts';
import type { RecentAnswer } from '../../src/model/recent-request.ts';
import { credentialsFrom, rootIn } from './credentials.ts';
import { type Bench, call, type Running, until } from './harness.ts';
import { beside, IdentityMesh, whenServed } from './identity-mesh.ts';
import { exchangeBytes, manifest, policy, type Resource, route, service, startWeb } from './static-mesh.ts';
import { TcpProxy } from './tcp-proxy.ts';

/** Where to ask for it. */
export interface Planted {
  readonly id: string;
  readonly sidecar: Running;
}

export const fieldsMax = 50;
export const timeoutsMs = { request: 200, perTry: 150, idle: 300 };
const certificateMs = 20_000;

/** Answers at once, but for `/hold`, which it never answers. */
const app: RequestListener = (request, response) => {
  request.resume();
  if (request.url !== '/hold') request.once('end', () => response.end('ok'));
};

export class PlantedMesh {
  private constructor(
    private readonly bench: Bench,
    readonly web: Running,
    /** Of the app of `cart` and others. */
    readonly app: string,
    /** Of TCP servers by what they do. */
    readonly tcp: Readonly<Record<'silent' | 'resetting' | 'cutting' | 'garbled', string>>,
    /** Nobody listens there. */
    readonly closed: readonly [string, string],
    /** Of sidecars by their Service, each behind a line of its own. */
    readonly linked: Readonly<Record<string, { readonly sidecar: Running; readonly line: TcpProxy }>>,
  ) {}

  static async start(bench: Bench): Promise<PlantedMesh> {
    const { address } = await bench.app(app);
    const silent = (await bench.tcp(() => {})).address;
    const resetting = (await bench.tcp((socket) => socket.once('data', () => socket.resetAndDestroy()))).address;
    const begun = 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun';
    const cutting = (await bench.tcp((socket) => socket.once('data', () => socket.end(begun)))).address;
    const garbled = (await bench.tcp((socket) => socket.once('data', () => socket.end('HELO you\r\n\r\n')))).address;
    const closed = [await closedAddress(), await closedAddress()] as const;
    const root = await rootIn(bench.path('ca'));
    const linked: Record<string, { readonly sidecar: Running; readonly line: TcpProxy }> = {};
    // One after the other, the one whose time runs last.
    for (const name of ['drained', 'lost', 'other', 'expired'])
      linked[name] = await startLinked(bench, root, name, address, name === 'expired' ? certificateMs : 600_000);
    const linkTo = (name: string) => ({ address: linked[name]!.sidecar.ready.link, link: linked[name]!.line.address });
    const backend = { name: 'cart', port: 80 };
    const resources: Resource[] = [
      service('cart', [address]),
      route([
        {
          name: 'items',
          matches: [{ path: { type: 'PathPrefix', value: '/items' }, method: 'GET' }],
          backendRefs: [backend],
        },
        { name: 'zero', matches: [{ path: { value: '/zero' } }], backendRefs: [{ ...backend, weight: 0 }] },
      ]),
      service('slow', [silent]),
      policy('Service', 'slow', { request: `${timeoutsMs.request}ms` }),
      service('try', [silent]),
      policy('Service', 'try', { backendRequest: `${timeoutsMs.perTry}ms` }),
      service('idle', [silent]),
      policy('Service', 'idle', { idle: `${timeoutsMs.idle}ms` }),
      service('busy', [silent]),
      service('held', [silent]),
      service('small', [address], { limits: { requestBodyBytes: 10 } }),
      service('refusing', closed),
      service(
        'aside',
        closed.map((each) => ({ address: each, link: each })),
      ),
      service('resetting', [resetting]),
      service('cutting', [cutting]),
      service('garbled', [garbled]),
      service('expired', [linkTo('expired')]),
      service('drained', [linkTo('drained')]),
      service('lost', [linkTo('lost')]),
      // Who answers there is somebody else.
      service('pay', [linkTo('other')]),
    ];
    const identity = await identityDirectory(bench, root, 'web', 600_000);
    const web = await startWeb(
      bench,
      resources,
      '--identity-dir',
      identity,
      '--limit',
      `outbound.head-fields=${fieldsMax}`,
    );
    return new PlantedMesh(bench, web, address, { silent, resetting, cutting, garbled }, closed, linked);
  }

  /** One call, to its end, whatever that is. */
  async call(host: string, path = '/', options: Parameters<typeof call>[3] = {}): Promise<Planted> {
    const id = randomBytes(16).toString('hex');
    const headers = { ...options.headers, traceparent: `00-${id}-${'1'.repeat(16)}-01` };
    await call(this.web.ready.outbound, host, path, { ...options, headers }).catch(() => {});
    await this.whenEnded(this.web, id);
    return { id, sidecar: this.web };
  }

  private async whenEnded(sidecar: Running, id: string): Promise<void> {
    await until(
      'it has ended',
      async () => (await call(sidecar.ready.admin, 'admin', `/requests/${id}`)).status === 200,
    );
  }

  /** Begins one that is not answered; `leave` ends its client. */
  private begin(host: string, path: string, method = 'GET'): { readonly id: string; readonly leave: () => void } {
    const id = randomBytes(16).toString('hex');
    const [hostname, port] = this.web.ready.outbound.split(':');
    const headers = { host, traceparent: `00-${id}-${'1'.repeat(16)}-01` };
    const outgoing = httpRequest({ hostname, port, path, method, headers, agent: false });
    outgoing.on('error', () => {});
    outgoing.end();
    return { id, leave: () => outgoing.destroy() };
  }

  private async whenSent(host: string): Promise<void> {
    const gauge = new RegExp(`weft_upstream_connections\\{destination="${host}\\.default",state="active"\\} [1-9]`);
    await until(`a request is at ${host}`, async () =>
      gauge.test((await call(this.web.ready.admin, 'admin', '/metrics')).body),
    );
  }

  async clientGone(): Promise<Planted> {
    const { id, leave } = this.begin('held', '/');
    await this.whenSent('held');
    leave();
    await this.whenEnded(this.web, id);
    return { id, sidecar: this.web };
  }

  /** So many at once that the one pool and its queue hold no more. */
  async poolFull(): Promise<Planted> {
    const [hostname, port] = this.web.ready.outbound.split(':');
    // They stay: two thousand clients that leave are as many failures, and would push this one out.
    const agent = new Agent({ maxSockets: Number.POSITIVE_INFINITY });
    this.bench.onClose(() => agent.destroy());
    for (let i = 0; i < limits.poolConnectionsMax + limits.poolPendingMax; i++)
      httpRequest({ hostname, port, headers: { host: 'busy' }, agent })
        .on('error', () => {})
        .end();
    let last: Planted | null = null;
    await until('one more finds no place', async () => {
      const { id, leave } = this.begin('busy', '/');
      const answer = await Promise.race([
        this.answerTo(id),
        new Promise<null>((resolve) => setTimeout(resolve, 500, null)),
      ]);
      leave();
      if (answer?.requests[0]?.failure !== 'pool-full') return false;
      last = { id, sidecar: this.web };
      return true;
    });
    return last!;
  }

  private async answerTo(id: string): Promise<RecentAnswer> {
    await this.whenEnded(this.web, id);
    return JSON.parse((await call(this.web.ready.admin, 'admin', `/requests/${id}`)).body) as RecentAnswer;
  }

  async headerFlood(): Promise<Planted> {
    const fields = Array.from({ length: fieldsMax + 10 }, (_, i) => `x-${i}: ${i}\r\n`).join('');
    const answer = await exchangeBytes(this.web.ready.outbound, `GET /items HTTP/1.1\r\nHost: cart\r\n${fields}\r\n`);
    return { id: /^weft-request-id: (.*)\r$/im.exec(answer)![1]!, sidecar: this.web };
  }

  /** Its certificate runs out while it serves. */
  async expiredCertificate(): Promise<Planted> {
    const { sidecar } = this.linked.expired!;
    await until(
      'its certificate has run out',
      () => sidecar.logs().includes('certificate of this sidecar has expired'),
      60_000,
    );
    return this.call('expired');
  }

  /** It is told to end while a request that it has begun keeps its link. */
  async drained(): Promise<Planted> {
    const held = this.begin('drained', '/hold');
    await this.whenSent('drained');
    await call(this.linked.drained!.sidecar.ready.admin, 'admin', '/drain', { method: 'POST' });
    const last = await this.callUntil('drained', 'draining');
    held.leave();
    return last;
  }

  /** Both were tried a moment ago, so that neither is now. */
  setAside(): Promise<Planted> {
    return this.callUntil('aside', 'set aside');
  }

  /** The last of as many as it takes until what is said of one holds `text`. */
  private async callUntil(host: string, text: string): Promise<Planted> {
    let last: Planted | null = null;
    await until(`${host} fails for it: ${text}`, async () => {
      last = await this.call(host);
      const [request] = (await this.answerTo(last.id)).requests;
      return `${request!.failure} ${request!.detail}`.includes(text);
    });
    return last!;
  }

  async linkLost(): Promise<Planted> {
    const { id } = this.begin('lost', '/hold', 'POST');
    await this.whenSent('lost');
    this.linked.lost!.line.reset();
    await this.whenEnded(this.web, id);
    return { id, sidecar: this.web };
  }

  /** A control plane that has gone, and an endpoint that has gone since. */
  async staleConfiguration(): Promise<Planted> {
    const mesh = await IdentityMesh.start(this.bench);
    const shop = await mesh.sidecar('shop', ...beside({ address: this.app }));
    const web = await mesh.sidecar('web');
    await whenServed(web.ready.outbound, 'shop');
    await mesh.control.kill('SIGKILL');
    await until('it knows', () => web.logs().includes('there is no connection to the control plane'));
    await shop.kill('SIGKILL');
    let id = '';
    await until('the link to it is gone', async () => {
      const { headers } = await call(web.ready.outbound, 'shop');
      id = String(headers['weft-request-id']);
      return headers['weft-failure'] === 'connect-refused';
    });
    return { id, sidecar: web };
  }
}

async function startLinked(bench: Bench, root: SigningRoot, name: string, address: string, ttlMs: number) {
  const identity = await identityDirectory(bench, root, name, ttlMs);
  const sidecar = await bench.weft([
    ...['sidecar', '--service', name, '--app', address, '--link', '127.0.0.1:0', '--identity-dir', identity],
    ...[
      '--outbound',
      '127.0.0.1:0',
      '--admin',
      '127.0.0.1:0',
      '--config',
      bench.file(`${name}.yaml`, manifest([service(name, [])])),
    ],
  ]);
  const line = await TcpProxy.before(sidecar.ready.link);
  bench.onClose(() => line.close());
  return { sidecar, line };
}

/** What `--identity-dir` takes, with a certificate that lasts so long. */
async function identityDirectory(bench: Bench, root: SigningRoot, name: string, ttlMs: number): Promise<string> {
  const { cert, key, ca } = await credentialsFrom(root, { service: name, ttlMs });
  mkdirSync(bench.path(`identity-${name}`));
  for (const [file, text] of Object.entries({ 'svid.pem': cert, 'key.pem': key, 'bundle.pem': ca }))
    bench.file(`identity-${name}/${file}`, text);
  return bench.path(`identity-${name}`);
}

async function closedAddress(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('it listened at a port');
  return `127.0.0.1:${address.port}`;
}
