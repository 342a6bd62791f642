/** The table of what each address needs, held against the server's own list of addresses. */
import fastify from 'fastify';
import { describe, expect, it } from 'vitest';
import type { AccessControl } from '../../../src/control/access/access-control.ts';
import { addAccessHook } from '../../../src/control/api/access-hook.ts';
import { addCertificateRoutes } from '../../../src/control/api/certificate-routes.ts';
import { addMetricsRoute } from '../../../src/control/api/metrics-route.ts';
import { knownAddresses, needOf, previewNeedOf } from '../../../src/control/api/permissions.ts';
import { addResourceRoutes } from '../../../src/control/api/resource-routes.ts';
import { addRevisionRoutes } from '../../../src/control/api/revision-routes.ts';
import { addStatusRoutes } from '../../../src/control/api/status-routes.ts';
import { addTokenRoutes } from '../../../src/control/api/token-routes.ts';
import { addTrafficRoutes } from '../../../src/control/api/traffic-routes.ts';
import { LimitedLog } from '../../../src/telemetry/limited-log.ts';
import { ManualClock, silentLogger } from './memory-store.ts';

const log = new LimitedLog(new ManualClock(), silentLogger);
const gate = { access: {} as AccessControl, log, isExposed: false };

describe('permissions', () => {
  it('has a line for each address that the server adds, and no other', async () => {
    const app = fastify();
    const added: string[] = [];
    app.addHook('onRoute', ({ method, url }) => {
      for (const each of [method].flat()) if (each !== 'HEAD') added.push(`${each} ${url}`);
    });
    // What they would ask while they serve is not asked here.
    const rooms = {} as Parameters<typeof addResourceRoutes>[1] &
      Parameters<typeof addRevisionRoutes>[1] &
      Parameters<typeof addStatusRoutes>[1] &
      Parameters<typeof addCertificateRoutes>[1] &
      Parameters<typeof addTokenRoutes>[1] &
      Parameters<typeof addMetricsRoute>[1];
    addResourceRoutes(app, rooms);
    addRevisionRoutes(app, rooms);
    addStatusRoutes(app, rooms);
    addTrafficRoutes(app, rooms.fleet);
    addMetricsRoute(app, { metrics: async () => '' });
    addCertificateRoutes(app, rooms);
    addTokenRoutes(app, rooms);
    app.get('/openapi.json', () => '');
    expect(added.sort()).toEqual([...knownAddresses()].sort());
    await app.close();
  });

  it('keeps an address that is not in it out of the server', () => {
    const app = fastify();
    addAccessHook(app, gate);
    expect(() => app.get('/v1/secrets', () => '')).toThrow(/GET \/v1\/secrets has no line in permissions\.ts/);
    expect(() => app.delete('/v1/status', () => '')).toThrow(/DELETE \/v1\/status/);
  });

  it('asks nothing for what a sidecar needs before it has an identity, and for nothing else', () => {
    const open = knownAddresses().filter(
      (address) => needOf(...(address.split(' ') as [string, string])) === 'nothing',
    );
    expect(open.sort()).toEqual(['GET /healthz', 'GET /v1/bootstrap', 'POST /v1/certificates']);
  });

  it('lets a reader preview what is written, and nothing that makes tokens or roots', () => {
    for (const address of knownAddresses()) {
      const [method, url] = address.split(' ') as [string, string];
      const need = needOf(method, url);
      expect(previewNeedOf(method, url), address).toBe(need === 'editor' ? 'reader' : need);
    }
  });

  it('lets no reader write', () => {
    for (const address of knownAddresses()) {
      const [method, url] = address.split(' ') as [string, string];
      if (method !== 'GET' && needOf(method, url) !== 'nothing')
        expect(needOf(method, url), address).not.toBe('reader');
    }
  });
});
