import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SigningRoot } from '../../../../src/identity/root.ts';
import { issueSvid } from '../../../../src/identity/svid.ts';
import { makeRequestInThread } from '../../../../src/sidecar/identity/certificate-request-thread.ts';
import { credentialsOf } from '../../../../src/sidecar/identity/credentials-check.ts';
import { identityOf, newRoot, nowMs } from '../../identity/roots.ts';

const project = fileURLToPath(new URL('../../../..', import.meta.url));
let directory = '';
let root: SigningRoot;
const fileOf = (name: string): URL => pathToFileURL(`${directory}/${name}`);
const never = new AbortController().signal;

beforeAll(async () => {
  mkdirSync(`${project}node_modules/.cache`, { recursive: true });
  directory = mkdtempSync(`${project}node_modules/.cache/identity-`);
  await build({
    absWorkingDir: project,
    entryPoints: { worker: 'src/sidecar/identity/certificate-request-worker.ts' },
    outdir: directory,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    packages: 'external',
    logLevel: 'warning',
  });
  root = await newRoot();
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe('the thread that makes a key', () => {
  it.each([
    ['fails', 'throw new Error("no luck")', 'no luck'],
    ['ends without one', 'process.exit(0)', 'ended without one'],
  ])('that %s is a failure', async (_what, code, message) => {
    const file = fileOf(`${message.replaceAll(' ', '-')}.mjs`);
    writeFileSync(file, code);
    await expect(makeRequestInThread(never, file)).rejects.toThrow(message);
  });

  it('that is not there is a failure', async () => {
    await expect(makeRequestInThread(never, fileOf('none.mjs'))).rejects.toThrow();
  });

  it('is ended when it takes too long', async () => {
    const file = fileOf('endless.mjs');
    writeFileSync(file, 'for (;;);');
    const stop = new AbortController();
    const made = makeRequestInThread(stop.signal, file);
    stop.abort(new Error('late'));
    await expect(made).rejects.toThrow('late');
  });

  it('makes another one each time, that a control plane certifies', async () => {
    const made = await Promise.all([1, 2].map(() => makeRequestInThread(never, fileOf('worker.js'))));
    expect(made[0]!.keyPem).not.toBe(made[1]!.keyPem);
    const { csrPem, keyPem } = made[0]!;
    const { certificatePem } = await issueSvid(root, { csrPem, identity: identityOf('cart'), nowMs, ttlMs: 60_000 });
    expect(credentialsOf({ certificatePem, keyPem, bundlePem: root.certificatePem }, nowMs).spiffeId).toBe(
      'spiffe://weft.local/ns/default/sa/cart',
    );
  });
});
