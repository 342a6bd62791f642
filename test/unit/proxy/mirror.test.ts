import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import { failures } from '../../../src/proxy/failure.ts';
import { FakeClient, FakeEndpoint, fakeAction, fakeHead, fakeMesh } from './proxy-fakes.ts';

/** The Service `shadow` beside `cart`, and a rule that copies every request there. */
function mirroredMesh(shadow: FakeEndpoint | null, fraction = 1) {
  const primary = new FakeEndpoint('127.0.0.1:1', 1, true);
  const backend = {
    unit: 'cart.default',
    ref: 'default/cart',
    requestHeaders: { set: [['X-Backend', 'cart'] as const], add: [], remove: [] },
    responseHeaders: null,
  };
  const mesh = fakeMesh(
    [primary],
    fakeAction({
      requestHeaders: { set: [['X-Rule', 'all'] as const], add: [], remove: [] },
      mirrors: [{ unit: 'shadow.default', fraction }],
      pickBackend: () => backend,
    }),
  );
  const find = mesh.snapshot.find.bind(mesh.snapshot);
  mesh.snapshot.find = (unit) =>
    unit === 'shadow.default' ? { ...mesh.service, name: 'shadow.default', pick: () => shadow } : find(unit);
  return { ...mesh, primary };
}

const sentValue = (headers: readonly string[], name: string) =>
  headers.find((_, i) => i % 2 === 1 && headers[i - 1]!.toLowerCase() === name);

describe('a mirrored request', () => {
  it('that has nobody to go to, or fails, is counted and harms nothing', () => {
    for (const shadow of [null, new FakeEndpoint('127.0.0.1:2', 2)]) {
      const { proxy, primary, failureCounts } = mirroredMesh(shadow);
      const client = new FakeClient();
      proxy.accept(fakeHead(), client).onRequestEnd([]);
      shadow?.last.fail(failures['connect-refused']);
      primary.last.assign();
      primary.last.answer(200);
      expect(client.events).toEqual(['head 200', 'end']);
      expect(failureCounts).toEqual(['mirror-failed']);
    }
  });

  it('has the filters of its rule, not those of the backendRef, nor what only sidecars are told', () => {
    const shadow = new FakeEndpoint('127.0.0.1:2', 2);
    const { proxy, primary } = mirroredMesh(shadow);
    proxy.accept(fakeHead({ headers: ['Weft-Timing', '1'] }), new FakeClient()).onRequestEnd([]);
    expect(sentValue(primary.last.headers, 'weft-timing')).toBe('1');
    expect(sentValue(primary.last.headers, 'x-backend')).toBe('cart');
    const copy = shadow.last.headers;
    expect(copy.slice(0, 2)).toEqual(['Host', 'cart']);
    expect(sentValue(copy, 'x-rule')).toBe('all');
    expect(sentValue(copy, 'x-backend')).toBeUndefined();
    expect(sentValue(copy, 'weft-timing')).toBeUndefined();
    expect(sentValue(copy, 'traceparent')).toBe(sentValue(primary.last.headers, 'traceparent'));
  });

  it('may fall behind by a bounded number of bytes, and is given up beyond', () => {
    const shadow = new FakeEndpoint('127.0.0.1:2', 2);
    const { proxy, primary, failureCounts } = mirroredMesh(shadow);
    const receiver = proxy.accept(fakeHead({ method: 'POST', bodyBytes: -1 }), new FakeClient());
    primary.last.assign();
    const chunk = Buffer.alloc(64 * 1024);
    shadow.last.hasRoom = false;
    receiver.onRequestBody(chunk);
    expect(shadow.last.events).toEqual([]);
    shadow.last.handler.onWritable();
    receiver.onRequestBody(chunk);
    for (let sent = 0; sent < limits.mirrorBacklogBytesMax; sent += chunk.length) receiver.onRequestBody(chunk);
    expect(shadow.last.events).toEqual([]);
    receiver.onRequestBody(chunk);
    expect(shadow.last.events).toEqual(['destroy']);
    expect(failureCounts).toEqual(['mirror-dropped']);
    expect(primary.last.events).toEqual([]);
  });
});
