import { execFileSync } from 'node:child_process';
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { makeCertificateRequest } from '../../../src/identity/certificate-request.ts';
import { RootDirectory } from '../../../src/identity/root-directory.ts';
import { issueSvid } from '../../../src/identity/svid.ts';
import { limits } from '../../../src/model/limits.ts';
import { identityOf, nowMs, trustDomain } from './roots.ts';

async function newPath(): Promise<string> {
  const parent = await mkdtemp(join(tmpdir(), 'weft-ca-'));
  onTestFinished(() => rm(parent, { recursive: true }));
  return join(parent, 'ca');
}
const directoryAt = (path: string) => new RootDirectory({ path, trustDomain, nowMs: () => nowMs });
async function made() {
  const path = await newPath();
  const directory = directoryAt(path);
  return { path, directory, root: await directory.open('root') };
}
const pemOf = (curve: string) =>
  generateKeyPairSync('ec', { namedCurve: curve }).privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
const unusable = (message: RegExp) => ({ code: 'ca-unusable', message: expect.stringMatching(message) });

describe('a directory that cannot be used', () => {
  it.each([0o644, 0o640, 0o660, 0o604])('refuses a key of mode %o', async (mode) => {
    const { path, directory } = await made();
    await chmod(join(path, 'root.key'), mode);
    await expect(directory.open('root')).rejects.toMatchObject(unusable(/root\.key may be used by others .*chmod 600/));
  });

  it.each([0o777, 0o770, 0o720, 0o702, 0o1777])('is refused with mode %o: others write to it', async (mode) => {
    const { path, directory } = await made();
    await chmod(path, mode);
    await expect(directory.open('root')).rejects.toMatchObject(unusable(/may be written by others .*chmod go-w/));
  });

  it.each([0o700, 0o755, 0o750])('is none with mode %o', async (mode) => {
    const { path, directory, root } = await made();
    await chmod(path, mode);
    expect((await directory.open('root')).sha256).toBe(root.sha256);
  });

  it.each(['root.key', 'root.crt', 'next.key'])('refuses a pipe for its %s, and does not wait for it', async (name) => {
    const { path, directory } = await made();
    await rm(join(path, name), { force: true });
    execFileSync('mkfifo', ['-m', '600', join(path, name)]);
    await expect(directory.open('root')).rejects.toMatchObject(unusable(/no regular file/));
  });

  it('refuses a directory for a certificate', async () => {
    const { path, directory } = await made();
    await unlink(join(path, 'root.crt'));
    await mkdir(join(path, 'root.crt'));
    await expect(directory.open('root')).rejects.toMatchObject(unusable(/no regular file/));
  });

  it('refuses a certificate without its key', async () => {
    const { path, directory } = await made();
    await unlink(join(path, 'root.key'));
    await expect(directory.open('root')).rejects.toMatchObject(unusable(/root\.crt but no root\.key/));
  });

  it("refuses another key's certificate", async () => {
    const { path, directory } = await made();
    await writeFile(join(path, 'root.key'), pemOf('P-256'));
    await expect(directory.open('root')).rejects.toMatchObject(unusable(/does not belong to the key/));
  });

  it.each([
    ['root.key', pemOf('P-384'), /must be an ECDSA key on P-256/],
    ['root.key', 'nothing', /no private key/],
    ['root.crt', 'nothing', /no certificate/],
    ['root.crt', 'x'.repeat(100_000), /100000 bytes/],
  ])('refuses a %s that is none', async (name, text, message) => {
    const { path, directory } = await made();
    await writeFile(join(path, name), text);
    await expect(directory.open('root')).rejects.toMatchObject(unusable(message));
  });

  it('refuses a certificate that may not sign others', async () => {
    const { path, directory, root } = await made();
    const { csrPem, keyPem } = await makeCertificateRequest();
    const leaf = await issueSvid(root, { csrPem, identity: identityOf('a'), nowMs, ttlMs: 1000 });
    await writeFile(join(path, 'root.key'), keyPem);
    await writeFile(join(path, 'root.crt'), leaf.certificatePem);
    await expect(directory.open('root')).rejects.toMatchObject(unusable(/CA:TRUE/));
  });

  it('says so when there is a file in its place', async () => {
    const path = await newPath();
    await writeFile(path, '');
    await expect(directoryAt(path).open('root')).rejects.toMatchObject(unusable(/cannot be used: E/));
  });
});

describe('a new directory', () => {
  it('gets a root that only its owner can use', async () => {
    const { path, root } = await made();
    const mode = async (name: string) => (await stat(join(path, name))).mode & 0o777;
    expect(await mode('.')).toBe(0o700);
    expect(await mode('root.key')).toBe(0o600);
    expect((await readdir(path)).sort()).toEqual(['root.crt', 'root.key']);
    const certificate = new X509Certificate(root.certificatePem);
    expect(certificate.ca).toBe(true);
    expect(certificate.subjectAltName).toBe('URI:spiffe://weft.local');
    expect(root.notAfterMs - nowMs).toBe(limits.rootTtlMs);
    expect(root.subject).toMatch(/^O=Weft, CN=Weft root [0-9a-f]{8}$/);
  });

  it('is the same when it is opened again', async () => {
    const { path, root } = await made();
    expect((await directoryAt(path).open('root')).sha256).toBe(root.sha256);
  });

  it('is made once by several who come at the same time', async () => {
    const path = await newPath();
    const roots = await Promise.all(Array.from({ length: 5 }, () => directoryAt(path).open('root')));
    expect(new Set(roots.map(({ sha256 }) => sha256)).size).toBe(1);
    expect((await readdir(path)).sort()).toEqual(['root.crt', 'root.key']);
  });

  it('completes what a crash left: a key alone gets its certificate', async () => {
    const { path, directory, root } = await made();
    await unlink(join(path, 'root.crt'));
    const again = await directory.open('root');
    expect(again.sha256).not.toBe(root.sha256);
    expect(again.key.equals(root.key)).toBe(true);
  });
});

describe('the next root', () => {
  it('stands beside the root until it is promoted', async () => {
    const { path, directory, root } = await made();
    const next = await directory.open('next');
    expect(next.sha256).not.toBe(root.sha256);
    expect([await directory.hasNext(), (await directory.open('next')).sha256]).toEqual([true, next.sha256]);
    expect((await directory.open('root')).sha256).toBe(root.sha256);
    await directory.promoteNext();
    expect((await directory.open('root')).sha256).toBe(next.sha256);
    expect([await directory.hasNext(), (await readdir(path)).sort()]).toEqual([false, ['root.crt', 'root.key']]);
  });

  it('is promoted to the end after a crash in the middle', async () => {
    const { path, directory } = await made();
    const next = await directory.open('next');
    await rename(join(path, 'next.crt'), join(path, 'root.crt'));
    expect((await directory.open('root')).sha256).toBe(next.sha256);
    expect((await readdir(path)).sort()).toEqual(['root.crt', 'root.key']);
  });

  it('does not disturb the root when a crash left its key alone', async () => {
    const { path, directory, root } = await made();
    await writeFile(join(path, 'next.key'), pemOf('P-256'), { mode: 0o600 });
    expect((await directory.open('root')).sha256).toBe(root.sha256);
    expect((await directory.open('next')).sha256).not.toBe(root.sha256);
  });
});

describe('the root that the mesh has acknowledged', () => {
  it('is remembered', async () => {
    const { path, directory, root } = await made();
    expect(await directory.readSigning()).toBeNull();
    await directory.writeSigning(root.sha256);
    expect(await directoryAt(path).readSigning()).toBe(root.sha256);
    expect(await readFile(join(path, 'signing'), 'utf8')).toBe(`${root.sha256}\n`);
  });
});
