/** A mesh for the tests of faults: a caller `web`, several callees `cart`, and a network that can be spoilt on every link to them. */
import type { RequestListener } from 'node:http';
import { limits } from '../../src/model/limits.ts';
import { type Bench, call, type Running, until } from './harness.ts';
import { type MethodLoad, methodLoad } from './method-load.ts';
import { behindSlowPush } from './slow-push.ts';
import { TcpProxy } from './tcp-proxy.ts';

export interface Callee {
  readonly name: string;
  sidecar: Running;
  /** In front of its link; the Service `basket` leads through here. */
  readonly line: TcpProxy;
  /** Requests that its app has begun, and those that run. */
  readonly app: { served: number; active: number };
  /** Starts it once more on the ports that it had. */
  restart(): Promise<void>;
}

export interface LinkMesh {
  readonly control: Running;
  /** The control plane's API as the sidecars know it, HOST:PORT. */
  readonly api: string;
  /** Between the control plane's pushes and all sidecars. */
  readonly push: TcpProxy;
  readonly web: Running;
  readonly callees: readonly Callee[];
}

const loopback = ['--outbound', '127.0.0.1:0', '--admin', '127.0.0.1:0'];
const workMs = 20;

/** Takes the request whole, works for a moment, answers with its name. */
const work =
  (name: string): RequestListener =>
  (request, response) => {
    request.resume();
    request.once('end', () => setTimeout(() => response.end(name), workMs));
  };

export const startControl = (bench: Bench): Promise<Running> =>
  bench.weft([
    ...['control-plane', '--listen', '127.0.0.1:0', '--push', '127.0.0.1:0'],
    ...['--store', `embedded:${bench.path('store')}`],
  ]);

export interface LinkMeshOptions {
  readonly names: readonly string[];
  /** Each app's. */
  readonly handler?: (name: string) => RequestListener;
  /** Of the sidecars. */
  readonly environment?: NodeJS.ProcessEnv;
}

/** Starts everything, and waits until `web` reaches every callee as Service `basket`. */
export async function startLinkMesh(
  bench: Bench,
  { names, handler = work, environment = {} }: LinkMeshOptions,
): Promise<LinkMesh> {
  const control = await startControl(bench);
  const { api, line: push } = await behindSlowPush(bench, control);
  const callees = await Promise.all(names.map((name) => startCallee(bench, api, name, handler(name), environment)));
  await applyAndWait(bench, control, basketOf(callees));
  const web = await bench.weft(
    ['sidecar', '--service', 'web', ...loopback, '--control-plane', `http://${api}`],
    environment,
  );
  await until('web reaches every callee', async () => {
    await call(web.ready.outbound, 'basket');
    return callees.every(({ app }) => app.served > 0);
  });
  return { control, api, push, web, callees };
}

async function startCallee(
  bench: Bench,
  api: string,
  name: string,
  handler: RequestListener,
  environment: NodeJS.ProcessEnv,
): Promise<Callee> {
  const counts = { served: 0, active: 0 };
  const app = await bench.app((request, response) => {
    counts.served++;
    counts.active++;
    response.once('close', () => counts.active--);
    handler(request, response);
  });
  const start = (inbound: string, link: string, admin: string) =>
    bench.weft(
      [
        ...['sidecar', '--service', 'cart', '--app', app.address, '--inbound', inbound, '--link', link],
        ...['--outbound', '127.0.0.1:0', '--admin', admin, '--control-plane', `http://${api}`],
      ],
      environment,
    );
  const sidecar = await start('127.0.0.1:0', '127.0.0.1:0', '127.0.0.1:0');
  const { inbound, link, admin } = sidecar.ready;
  const line = await TcpProxy.before(link);
  bench.onClose(() => line.close());
  const callee: Callee = {
    name,
    sidecar,
    line,
    app: counts,
    restart: async () => {
      callee.sidecar = await start(inbound, link, admin);
    },
  };
  return callee;
}

/** Written, so that the way leads through the spoilt network; who is reached there is a `cart` all the same. */
function basketOf(callees: readonly Callee[]): string {
  const endpoints = callees.map(({ sidecar, line }) => ({
    address: sidecar.ready.inbound,
    link: line.address,
    identity: 'spiffe://weft.local/ns/default/sa/cart',
  }));
  return JSON.stringify({
    apiVersion: 'weft.mesh/v1',
    kind: 'Service',
    metadata: { name: 'basket' },
    spec: { endpoints },
  });
}

export async function applyAndWait(bench: Bench, control: Running, manifest: string): Promise<void> {
  const result = await bench.run(['apply', '-f', '-', '--server', control.ready.api, '--wait', 'applied'], manifest);
  if (result.code !== 0) throw new Error(`apply failed: ${result.stderr}${result.stdout}`);
}

/** Load over all callees, of Service `host`, until each has served 50 of it: a fault finds requests under way everywhere. */
export async function underLoad({ web, callees }: LinkMesh, workers: number, host = 'basket'): Promise<MethodLoad> {
  const traffic = methodLoad(web.ready.outbound, host, workers);
  const before = callees.map(({ app }) => app.served);
  await until('load is everywhere', () => callees.every(({ app }, i) => app.served >= before[i]! + 50));
  return traffic;
}

/** By then a way that is free again has been dialled, and the balancer has come by. */
const servedAgainMs = limits.linkRetryMsMax + 2_000;

/** Runs until the callee gets requests. */
export async function untilServedBy({ app }: Callee): Promise<void> {
  const before = app.served;
  await until('it gets requests again', () => app.served > before + 10, servedAgainMs);
}

/** Nothing of what ran is left: not in the callee's app, not on its link, not at the caller. `links` are those that stay. */
export async function untilNothingIsLeft({ web }: LinkMesh, callee: Callee, links: number): Promise<void> {
  await until('its app works on nothing', () => callee.app.active === 0);
  await until('its links are as many as before', async () => (await linksInto(callee.sidecar)) === links);
  await until('nothing is open at the caller', async () => (await busyLinksOf(web)) === 0);
}

/** Sum of a metric's series whose line has all of `labels`; 0 when there is none. */
export async function metric(sidecar: Running, name: string, ...labels: readonly string[]): Promise<number> {
  const { body } = await call(sidecar.ready.admin, 'admin', '/metrics');
  return body
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) && labels.every((label) => line.includes(label)))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}

/** Links of this caller to the Service `basket` on which requests run. */
export const busyLinksOf = (sidecar: Running): Promise<number> =>
  metric(sidecar, 'weft_upstream_connections', 'destination="basket', 'state="active"');

/** Connections of callers that its link listener holds. */
export const linksInto = (sidecar: Running): Promise<number> =>
  metric(sidecar, 'weft_listener_connections', 'listener="link"');
