import { existsSync, linkSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createEdgeListener } from '../../../src/proxy/listener/edge.ts';
import { createUwsListener } from '../../../src/proxy/listener/uws.ts';
import type { Listener } from '../../../src/proxy/request.ts';
import { listenAtSocket } from '../../../src/sidecar/socket-file.ts';

let directory: string;
let path: string;
const cleanups: (() => unknown)[] = [];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'weft-socket-'));
  path = join(directory, 'out.sock');
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  rmSync(directory, { recursive: true, force: true });
});

const nobody = {
  acceptor: {
    accept: () => {
      throw new Error('nobody calls');
    },
  },
  onRefused: () => {},
};

async function serverAt(place: string): Promise<Server> {
  const server = createServer().listen(place);
  await new Promise((resolve) => server.once('listening', resolve));
  cleanups.push(() => server.close());
  return server;
}

/** What a process that was killed leaves behind: a file, and nobody who listens. */
async function staleFileAt(place: string): Promise<void> {
  const server = createServer().listen(`${place}.live`);
  await new Promise((resolve) => server.once('listening', resolve));
  // Closing it removes the name that it was bound to, and no other.
  linkSync(`${place}.live`, place);
  await new Promise((resolve) => server.close(resolve));
  expect(existsSync(place)).toBe(true);
}

describe.each(['uws', 'node'] as const)('a socket file with the core %s', (core) => {
  const open = (at = path): Promise<Listener> =>
    (core === 'uws' ? createUwsListener : createEdgeListener)({ path: at, ...nobody });
  const listen = (mode = 0o600): Promise<Listener> => listenAtSocket({ path }, mode, () => open());

  it('is refused where there is no directory for it', async () => {
    path = join(directory, 'missing', 'out.sock');
    await expect(listen()).rejects.toMatchObject({ code: 'no-directory', address: `unix:${path}` });
    writeFileSync(join(directory, 'file'), '');
    path = join(directory, 'file', 'out.sock');
    await expect(listen()).rejects.toThrow(/its directory does not exist; make it or choose another path/);
  });

  it('is refused where this user may not write', async () => {
    const isRoot = process.geteuid!() === 0;
    mkdirSync(join(directory, 'closed'), { mode: 0o555 });
    path = join(directory, 'closed', 'out.sock');
    if (isRoot) process.seteuid!(65_534);
    try {
      await expect(listen()).rejects.toMatchObject({ code: 'socket-not-permitted' });
    } finally {
      if (isRoot) process.seteuid!(0);
    }
  });

  it('is refused where something else stands, which is left alone', async () => {
    writeFileSync(path, 'text');
    await expect(listen()).rejects.toMatchObject({ code: 'path-taken' });
    expect(statSync(path).size).toBe(4);
    rmSync(path);
    await serverAt(`${path}.other`);
    symlinkSync(`${path}.other`, path);
    await expect(listen()).rejects.toThrow(/what stands there is no socket/);
  });

  it('is refused where another process listens, which goes on', async () => {
    const server = await serverAt(path);
    await expect(listen()).rejects.toMatchObject({ code: 'socket-taken' });
    expect(server.listening).toBe(true);
    expect(existsSync(path)).toBe(true);
  });

  it('takes the place of one that was left behind, has its mode, and is gone afterwards', async () => {
    await staleFileAt(path);
    for (const mode of [0o600, 0o660]) {
      const listener = await listen(mode);
      expect(listener.address).toBe(`unix:${path}`);
      expect(statSync(path).mode & 0o777).toBe(mode);
      await listener.close();
      await listener.close();
      expect(existsSync(path)).toBe(false);
    }
  });

  it('says why the listener itself cannot bind', async () => {
    await expect(open(join(directory, 'missing', 'out.sock'))).rejects.toMatchObject({ code: 'socket-not-permitted' });
  });
});

it('a file that another process has put in its place meanwhile is left alone', async () => {
  const listener = await listenAtSocket({ path }, 0o600, () => createUwsListener({ path, ...nobody }));
  rmSync(path);
  await serverAt(path);
  await listener.close();
  expect(existsSync(path)).toBe(true);
});
