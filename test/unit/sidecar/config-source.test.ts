import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { compileUnit } from '../../../src/decisions/compile/compile-unit.ts';
import { SharedLiveState } from '../../../src/proxy/live-state.ts';
import { SlotTable } from '../../../src/proxy/slot-table.ts';
import { openConfigSource } from '../../../src/sidecar/config-source.ts';
import { noIdentity } from '../../../src/sidecar/identity/open-identity.ts';
import { InForce } from '../../../src/sidecar/in-force.ts';
import type { SidecarOptions } from '../../../src/sidecar/options.ts';
import { silentLogger } from '../control/memory-store.ts';
import { until } from './fake-control-plane.ts';

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const withLink = (...links: string[]): string =>
  JSON.stringify({
    ...{ apiVersion: 'weft.mesh/v1', kind: 'Service', metadata: { name: 'cart' } },
    spec: { endpoints: [{ address: '127.0.0.1:1', ...(links.length > 0 ? { link: links } : {}) }] },
  });

async function opened(text: string, identityFlags: Pick<SidecarOptions, 'identityDir' | 'isLinkInsecure'>) {
  const directory = mkdtempSync(join(tmpdir(), 'weft-config-source-'));
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, 'mesh.yaml');
  writeFileSync(path, text);
  const live = new SharedLiveState(() => 0);
  const inForce = new InForce({
    ...{ namespace: 'default', live, random: () => 0, onSwap: () => {} },
    compile: async (units) => units.map(compileUnit),
    slots: new SlotTable({ live, random: () => 0, nowMs: () => 0 }),
  });
  const warnings: (object | string)[][] = [];
  const logger = { ...silentLogger, warn: (fields: object, message: string) => void warnings.push([fields, message]) };
  const options = { source: { tag: 'file', path }, ...identityFlags } as SidecarOptions;
  const source = await openConfigSource(options, inForce, noIdentity(), logger);
  cleanups.push(() => source.close());
  return { path, warnings };
}

describe('a file that names links', () => {
  const none = { identityDir: null, isLinkInsecure: false };

  it('is warned of at start, and when it changes, where there is no identity', async () => {
    const { path, warnings } = await opened(withLink('127.0.0.1:2'), none);
    const expected = [
      { path, services: ['cart.default'], count: 1 },
      expect.stringMatching(/no-identity.*--identity-dir.*--insecure-link/),
    ];
    expect(warnings).toEqual([expected]);
    writeFileSync(path, withLink('127.0.0.1:2', '127.0.0.1:3'));
    await until(() => warnings.length === 2);
    expect(warnings[1]).toEqual(expected);
  });

  it.each([
    ['without links', withLink(), none],
    ['with an identity', withLink('127.0.0.1:2'), { ...none, identityDir: '/run/web' }],
    ['with --insecure-link', withLink('127.0.0.1:2'), { ...none, isLinkInsecure: true }],
  ])('is not warned of %s', async (_where, text, flags) => {
    expect((await opened(text, flags)).warnings).toEqual([]);
  });
});
