/** How a control plane gets to an etcd that lets not everybody in: passwords, rights to a prefix, TLS. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { noAccess } from '../../src/control/store/etcd-location.ts';
import { openStore } from '../../src/control/store/open-store.ts';
import { systemClock } from '../../src/sidecar/clock.ts';
import { EtcdCluster, whyNoEtcd } from '../fixtures/etcd-cluster.ts';
import { commitOf } from '../unit/store/store-contract.ts';

const reason = whyNoEtcd();
const options = { clock: systemClock, onBackgroundError: () => {} };
const base64 = (text: string) => Buffer.from(text).toString('base64');

describe.skipIf(reason !== null)('an etcd with users', () => {
  let cluster: EtcdCluster;
  beforeAll(async () => {
    cluster = await EtcdCluster.start({ size: 1 });
    await cluster.post('/v3/auth/user/add', { name: 'root', password: 'root' });
    await cluster.post('/v3/auth/user/grant', { user: 'root', role: 'root' });
    await cluster.post('/v3/auth/role/add', { name: 'weft' });
    const perm = { permType: 'READWRITE', key: base64('mesh/'), range_end: base64('mesh0') };
    await cluster.post('/v3/auth/role/grant', { name: 'weft', perm });
    await cluster.post('/v3/auth/user/add', { name: 'weft', password: 'p@ss:/word' });
    await cluster.post('/v3/auth/user/grant', { user: 'weft', role: 'weft' });
    await cluster.post('/v3/auth/enable', {});
  });
  afterAll(() => cluster?.close());

  it('takes the password from beside the address or from within, and needs no right but to the prefix', async () => {
    const access = { ...noAccess, password: 'p@ss:/word' };
    const store = await openStore(`etcd://weft@${cluster.addresses}/mesh`, { ...options, etcdAccess: access });
    expect(await store.commit(commitOf({ a: '1' }))).toEqual({ tag: 'committed', revision: 1 });
    await store.close();
    const url = `etcd://weft:p%40ss%3A%2Fword@${cluster.addresses}/mesh`;
    const again = await openStore(url, { ...options, etcdAccess: noAccess });
    expect(again.get('a')?.value).toBe('1');
    await again.close();
  });

  it.each([
    ['a wrong password', 'weft:wrong', 'mesh', /cannot be used: .*(authentication failed|password)/],
    ['no user', '', 'mesh', /cannot be used: .*user name is empty/],
    ['another prefix', 'weft:p%40ss%3A%2Fword', 'other', /cannot be used: .*permission denied.*rights to the prefix/],
  ])('refuses %s at once, and says so', async (_what, user, prefix, message) => {
    const url = `etcd://${user === '' ? '' : `${user}@`}${cluster.addresses}/${prefix}`;
    const beganMs = performance.now();
    await expect(openStore(url, { ...options, etcdAccess: noAccess })).rejects.toMatchObject({
      code: 'store-unusable',
      message: expect.stringMatching(message),
    });
    expect(performance.now() - beganMs).toBeLessThan(5_000);
  });
});

const hasOpenssl = spawnSync('openssl', ['version'], { timeout: 10_000 }).status === 0;

describe.skipIf(reason !== null || !hasOpenssl)('an etcd with TLS', () => {
  const directory = mkdtempSync(join(tmpdir(), 'weft-etcd-tls-'));
  const [certificate, key] = [join(directory, 'etcd.crt'), join(directory, 'etcd.key')];
  let cluster: EtcdCluster;
  beforeAll(async () => {
    const made = spawnSync(
      'openssl',
      [
        ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
        ...['-subj', '/CN=etcd', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', certificate],
      ],
      { timeout: 30_000, encoding: 'utf8' },
    );
    expect(made.status, made.stderr).toBe(0);
    cluster = await EtcdCluster.start({ size: 1, tls: { certificate, key } });
  });
  afterAll(async () => {
    await cluster?.close();
    rmSync(directory, { recursive: true });
  });

  it('is believed by the root that is given, and by no other', async () => {
    const url = `etcds://${cluster.addresses}`;
    const caPem = readFileSync(certificate, 'utf8');
    const store = await openStore(url, { ...options, etcdAccess: { ...noAccess, caPem } });
    expect(await store.commit(commitOf({ a: '1' }))).toEqual({ tag: 'committed', revision: 1 });
    await store.close();
    await expect(openStore(url, { ...options, etcdAccess: noAccess })).rejects.toMatchObject({
      message: expect.stringMatching(/certificate/),
    });
  });
});
