/** An origin of bytes, behind a sidecar with the edge and behind one with the uWS listener: for tests that speak in bytes to both. */
import { afterAll, beforeAll } from 'vitest';
import { Bench } from '../harness.ts';
import { service, startCart, startWeb } from '../static-mesh.ts';
import { StrictOrigin } from './strict-origin.ts';

export const wireListeners = ['edge', 'uws'] as const;

export class WireMesh {
  readonly origin = new StrictOrigin();
  /** `HOST:PORT` of each listener; its Service is `cart`. */
  readonly addresses = { edge: '', uws: '' };

  /** One for all tests of the file that calls it. */
  static forAll(): WireMesh {
    const mesh = new WireMesh();
    const bench = new Bench();
    beforeAll(async () => {
      const { address } = await bench.tcp(mesh.origin.serve);
      const cart = await startCart(bench, address);
      const web = await startWeb(bench, [service('cart', [address])]);
      mesh.addresses.edge = cart.ready.inbound!;
      mesh.addresses.uws = web.ready.outbound;
    });
    afterAll(() => bench.close());
    return mesh;
  }
}
