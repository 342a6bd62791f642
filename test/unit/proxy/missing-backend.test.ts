import { describe, expect, it } from 'vitest';
import { compileUnit } from '../../../src/decisions/compile/compile-unit.ts';
import { buildSnapshot } from '../../../src/model/build-snapshot.ts';
import { readManifest } from '../../../src/model/manifest.ts';
import { SharedLiveState } from '../../../src/proxy/live-state.ts';
import { openSnapshot } from '../../../src/proxy/open-snapshot.ts';
import { SlotTable } from '../../../src/proxy/slot-table.ts';
import { FakeClient, FakeEndpoint, fakeHead, fakeMesh } from './proxy-fakes.ts';

// No file or transaction may name a backend that does not exist, but a sidecar can hold a route before it holds all of its backends,
// and a Service can be deleted between two pushes.
const manifest = `
apiVersion: weft.mesh/v1
kind: Service
metadata: { name: cart }
spec: { endpoints: ['127.0.0.1:1'] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: cart }
spec:
  parentRefs: [{ group: weft.mesh, kind: Service, name: cart }]
  rules:
    - backendRefs: [{ name: cart, weight: 93 }, { name: gone, weight: 7 }]
`;

describe('a backend that does not exist', () => {
  it('has its share of the requests answered 500, exactly (Gateway API, HTTPRouteRule.backendRefs)', () => {
    const { resources } = readManifest(manifest, 'test');
    const { units } = buildSnapshot({ objects: resources, revision: 1, namespace: 'default', previous: null });
    const live = new SharedLiveState(() => 0, false);
    const random = () => 0.5;
    const { snapshot } = openSnapshot({
      revision: 1,
      compiled: [...units.values()].map(compileUnit),
      previous: null,
      live,
      slots: new SlotTable({ live, random, nowMs: () => 0 }),
      random,
    });
    const endpoint = new FakeEndpoint('127.0.0.1:1', 1);
    const { proxy, failureCounts } = fakeMesh([], undefined, {
      configuration: { current: snapshot },
      openUpstream: () => endpoint.upstream,
      live,
    });
    let answered = 0;
    for (let i = 0; i < 1_000; i++) {
      const client = new FakeClient();
      const streams = endpoint.streams.length;
      proxy.accept(fakeHead(), client).onRequestEnd([]);
      if (endpoint.streams.length > streams) {
        endpoint.last.answer(200);
        answered++;
      } else {
        expect([client.answer?.status, client.header('weft-failure')]).toEqual([500, 'backend-not-found']);
      }
      if (i % 100 === 99) expect(failureCounts.length).toBe((7 * (i + 1)) / 100);
    }
    expect(answered).toBe(930);
  });
});
