import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { compileUnit } from '../../../src/decisions/compile/compile-unit.ts';
import { type TrustBundle, trustBundleKey } from '../../../src/model/identity.ts';
import { judgeManifest } from '../../../src/model/judged-manifest.ts';
import { SharedLiveState } from '../../../src/proxy/live-state.ts';
import { SlotTable } from '../../../src/proxy/slot-table.ts';
import { openConfigSource } from '../../../src/sidecar/config-source.ts';
import type { IdentityAgent } from '../../../src/sidecar/identity/identity-agent.ts';
import { noIdentity } from '../../../src/sidecar/identity/open-identity.ts';
import { InForce } from '../../../src/sidecar/in-force.ts';
import type { SidecarOptions } from '../../../src/sidecar/options.ts';
import { silentLogger } from '../control/memory-store.ts';
import { FakeControlPlane, until } from './fake-control-plane.ts';

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const withLink = (...links: string[]): string =>
  JSON.stringify({
    ...{ apiVersion: 'weft.mesh/v1', kind: 'Service', metadata: { name: 'cart' } },
    spec: { endpoints: [{ address: '127.0.0.1:1', ...(links.length > 0 ? { link: links } : {}) }] },
  });

const judge = async (text: string, file: string) => judgeManifest(text, file);

function inForceOf(): InForce {
  const live = new SharedLiveState(() => 0, false);
  return new InForce({
    namespace: 'default',
    prepare: () => Promise.resolve(),
    swap: () => Promise.resolve(),
    compile: async (units) => units.map(compileUnit),
    slots: new SlotTable({ live, random: () => 0, nowMs: () => 0 }),
  });
}

async function opened(text: string, identityFlags: Pick<SidecarOptions, 'identityDir' | 'isLinkInsecure'>) {
  const directory = mkdtempSync(join(tmpdir(), 'weft-config-source-'));
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, 'mesh.yaml');
  writeFileSync(path, text);
  const inForce = inForceOf();
  const warnings: (object | string)[][] = [];
  const logger = { ...silentLogger, warn: (fields: object, message: string) => void warnings.push([fields, message]) };
  const options = { source: { tag: 'file', path }, ...identityFlags } as SidecarOptions;
  const source = await openConfigSource(options, inForce, noIdentity(), judge, logger);
  cleanups.push(() => source.close());
  return { path, warnings, source, inForce };
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

describe('a file without resources', () => {
  const flags = { identityDir: null, isLinkInsecure: true };
  const warning = (path: string) => [{ path }, expect.stringMatching(/no Service in the file/)];

  it('is taken, with a warning once the sidecar stands', async () => {
    const { path, warnings, inForce, source } = await opened('# nothing yet\n', flags);
    expect(warnings).toEqual([]);
    source.start();
    expect(warnings).toEqual([warning(path)]);
    expect(inForce.snapshot?.units.size).toBe(0);
  });

  it('is taken afterwards, too, when it stays without', async () => {
    const { path, warnings, inForce } = await opened(withLink(), flags);
    writeFileSync(path, '');
    await until(() => warnings.length === 1);
    expect(warnings).toEqual([warning(path)]);
    expect(inForce.snapshot?.units.size).toBe(0);
  });

  it('is not taken while it is written anew', async () => {
    const { path, warnings, inForce } = await opened(withLink(), flags);
    for (let i = 0; i < 4; i++) {
      writeFileSync(path, '');
      // At most one look in that time.
      await new Promise((resolve) => setTimeout(resolve, 200));
      writeFileSync(path, withLink(`127.0.0.1:${10 + i}`));
      await until(() => inForce.snapshot?.revision === 2 + i);
    }
    expect(warnings).toEqual([]);
  });
});

describe('a trust bundle that is pushed', () => {
  const bundle: TrustBundle = { kind: 'TrustBundle', trustDomain: 'weft.local', roots: [], requiresJoinToken: true };

  /** A sidecar that greets a control plane, with an identity that says what it thinks of a bundle when the test wants it to. */
  async function greeting(identity: Partial<IdentityAgent>, stateDir: string | null = null) {
    const plane = await FakeControlPlane.start();
    cleanups.push(() => plane.stop());
    const options = {
      ...{ service: 'app', namespace: 'default', upstreams: [], stateDir, joinToken: null, isLinkInsecure: false },
      source: { tag: 'control-plane', urls: [plane.url] },
    } as unknown as SidecarOptions;
    const inForce = inForceOf();
    const source = await openConfigSource(options, inForce, { ...noIdentity(), ...identity }, judge, silentLogger);
    cleanups.push(() => source.close());
    source.start();
    return { plane, inForce, source };
  }

  it('is refused with everything that came with it when its roots are not believed', async () => {
    const takeBundle = () => Promise.reject(new Error('nobody vouched for it'));
    const { plane, inForce } = await greeting({ takeBundle });
    await until(() => plane.sessions[0]?.hello !== undefined);
    plane.last.push({ objects: { [trustBundleKey]: bundle } });
    await until(() => plane.last.of('nack').length === 1);
    expect(plane.last.of('nack')[0]?.reason).toBe('nobody vouched for it');
    expect(plane.last.of('ack')).toEqual([]);
    expect(inForce.snapshot).toBeNull();
  });

  it('is acknowledged after its roots are believed', async () => {
    let believe = () => {};
    let asked = 0;
    const takeBundle = () => {
      asked++;
      return new Promise<void>((resolve) => {
        believe = resolve;
      });
    };
    const { plane, inForce } = await greeting({ takeBundle });
    await until(() => plane.sessions[0]?.hello !== undefined);
    plane.last.push({ objects: { [trustBundleKey]: bundle } });
    await until(() => asked === 1);
    expect(inForce.snapshot).toBeNull();
    expect(plane.last.of('ack')).toEqual([]);
    believe();
    await until(() => plane.last.of('ack').length === 1);
  });

  it('is not restored from disk, but asked for again', async () => {
    const stateDir = mkdtempSync(join(tmpdir(), 'weft-config-source-'));
    cleanups.push(() => rmSync(stateDir, { recursive: true, force: true }));
    const before = await greeting({}, stateDir);
    await until(() => before.plane.sessions[0]?.hello !== undefined);
    before.plane.last.push({ revision: 7, objects: { [trustBundleKey]: bundle } });
    await until(() => before.plane.last.of('ack').length === 1);
    await before.source.close();
    let taken = 0;
    const takeBundle = async () => void taken++;
    const after = await greeting({ takeBundle }, stateDir);
    await after.source.first;
    await until(() => after.plane.sessions[0]?.hello !== undefined);
    expect(after.inForce.snapshot?.revision).toBe(7);
    expect([...after.plane.last.hello!.held.keys()]).toEqual([]);
    expect(taken).toBe(0);
  });

  it('never comes from a push port that somebody named in plain HTTP, where control planes prove who they are', async () => {
    const controlPlaneTrust = { trustDomain: 'weft.local', rootsSha256: ['a'.repeat(64)], bundlePem: null };
    const { plane, source } = await greeting({ controlPlaneTrust });
    await until(() => source.status().lastError !== null);
    expect(source.status().lastError).toContain('cannot be reached over TLS');
    expect([plane.bootstraps, plane.sessions.length]).toEqual([0, 0]);
  });
});
