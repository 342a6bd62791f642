import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkStoreUrl, readEtcdAccess } from '../../../src/cli/etcd-flags.ts';

const directory = mkdtempSync(join(tmpdir(), 'weft-etcd-flags-'));
const file = (name: string) => join(directory, name);
const pem = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n';

beforeAll(() => {
  writeFileSync(file('some.pem'), pem);
  writeFileSync(file('password'), 'se cret\n');
});
afterAll(() => rmSync(directory, { recursive: true }));

describe('what a store on etcd needs beside its address', () => {
  it('comes out of files, the password also out of the environment, where a file wins', async () => {
    const flags = { etcdCa: file('some.pem'), etcdCert: file('some.pem'), etcdKey: file('some.pem') };
    const urls = ['etcds://me@a:1'];
    expect(
      await readEtcdAccess({ ...flags, etcdPasswordFile: file('password') }, urls, { WEFT_ETCD_PASSWORD: 'x' }),
    ).toEqual({
      caPem: pem,
      certificatePem: pem,
      keyPem: pem,
      password: 'se cret',
    });
    expect((await readEtcdAccess({}, urls, { WEFT_ETCD_PASSWORD: 'x' })).password).toBe('x');
    expect((await readEtcdAccess({}, urls, { WEFT_ETCD_PASSWORD: '' })).password).toBeNull();
  });

  it.each([
    ['a certificate without its key', { etcdCert: file('some.pem') }, 'etcds://a:1', /belong together/],
    ['TLS files without TLS', { etcdCa: file('some.pem') }, 'etcd://a:1', /are for TLS: name the store as etcds/],
    ['a file that is not there', { etcdCa: file('missing') }, 'etcds://a:1', /--etcd-ca .*missing cannot be read/],
    ['a file that is no PEM', { etcdCa: file('password') }, 'etcds://a:1', /is not in PEM/],
  ])('is refused: %s', async (_what, flags, url, message) => {
    await expect(readEtcdAccess(flags, [url], {})).rejects.toMatchObject({
      exitCode: 2,
      message: expect.stringMatching(message),
    });
  });
});

describe('the address of a store', () => {
  it.each(['embedded:x', 'etcd://a:1,b:2', 'etcds://u@a:1/p'])('may be %s', (url) => {
    expect(() => checkStoreUrl('--store', url)).not.toThrow();
  });

  it.each(['', 'embedded:', 'file:x', 'etcd://a', 'etcd:a:1'])('may not be %j', (url) => {
    expect(() => checkStoreUrl('--store', url)).toThrow(/--store.*not understood/);
  });
});
