/** What real sidecars say at /metrics when everything that has labels has happened: requests, a failure, a further attempt, links. */
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { type Bench, call, until } from '../e2e/harness.ts';
import { IdentityMesh } from '../e2e/identity-mesh.ts';
import { manifest, service } from '../e2e/static-mesh.ts';

export interface Scraped {
  /** As after `# TYPE`, by name. */
  readonly types: ReadonlyMap<string, string>;
  /** By name of the sample: of a histogram those of its buckets, sum and count. */
  readonly labels: ReadonlyMap<string, ReadonlySet<string>>;
}

/** Of the caller's and the callee's sidecar together, and of their control plane. */
export async function scrapeMesh(bench: Bench): Promise<{ readonly sidecars: Scraped; readonly control: Scraped }> {
  const app = await bench.app((request, response) => {
    request.resume();
    response.end('cart');
  });
  const mesh = await IdentityMesh.start(bench);
  const sidecars = await Promise.all([
    mesh.sidecar('web'),
    mesh.sidecar('cart', '--app', app.address, '--link', '127.0.0.1:0'),
  ]);
  const [web] = sidecars;
  const endpoints = [app.address, await nobodyAt()];
  await mesh.apply(manifest([service('spare', endpoints, { loadBalancer: { policy: 'RoundRobin' } })]));
  await until('cart is served, over its link', async () => (await call(web.ready.outbound, 'cart')).status === 200);
  await call(web.ready.outbound, 'nobody');
  const scrape = async () => {
    for (let turn = 0; turn < endpoints.length; turn++) await call(web.ready.outbound, 'spare');
    const answers = await Promise.all(sidecars.map(({ ready }) => call(ready.admin, 'admin', '/metrics')));
    return answers.map(({ body }) => body).join('');
  };
  let text = '';
  await until('a request was tried elsewhere', async () => {
    text = await scrape();
    return text.includes('weft_retries_total{');
  });
  const { body: controlText } = await call(mesh.control.ready.api, '127.0.0.1', '/metrics');
  return { sidecars: readText(text), control: readText(controlText) };
}

/** An address that refuses connections. */
async function nobodyAt(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return `127.0.0.1:${port}`;
}

function readText(text: string): Scraped {
  const types = new Map<string, string>();
  const labels = new Map<string, Set<string>>();
  for (const [, name, type] of text.matchAll(/^# TYPE (\S+) (\S+)$/gm)) types.set(name!, type!);
  for (const [, name, pairs = ''] of text.matchAll(/^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? \S+$/gm)) {
    const known = labels.get(name!) ?? new Set();
    for (const [, label] of pairs.matchAll(/([a-zA-Z_]\w*)="(?:\\.|[^"\\])*"/g)) known.add(label!);
    labels.set(name!, known);
  }
  return { types, labels };
}
