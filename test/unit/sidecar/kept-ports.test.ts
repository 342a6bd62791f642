import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { HostPort } from '../../../src/model/host-port.ts';
import { bindServer } from '../../../src/proxy/listener/bind-server.ts';
import { KeptPorts } from '../../../src/sidecar/kept-ports.ts';
import { silentLogger } from '../control/memory-store.ts';

let directory = '';
const servers = new Set<Server>();
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'weft-ports-'));
});
afterEach(() => {
  for (const server of servers) server.close();
  servers.clear();
  rmSync(directory, { recursive: true, force: true });
});

const options = () => ({ directory, service: 'cart', namespace: 'default', logger: silentLogger });
const anyPort = { host: '127.0.0.1', port: 0 };

async function open({ host, port }: HostPort): Promise<{ address: string }> {
  const server = createServer();
  const address = await bindServer(server, host, port);
  servers.add(server);
  return { address };
}

/** Opens both listeners as a sidecar does, and answers where they are. */
async function start(changes: object = {}, at: HostPort = anyPort): Promise<readonly string[]> {
  const ports = await KeptPorts.load({ ...options(), ...changes });
  const inbound = await ports.listen('inbound', at, open);
  const link = await ports.listen('link', anyPort, open);
  await ports.save();
  return [inbound.address, link.address];
}

async function stop(): Promise<void> {
  for (const server of servers) await new Promise((resolve) => server.close(resolve));
  servers.clear();
}

describe('kept ports', () => {
  it.each([
    ['nothing', ''],
    ['no JSON', '{'],
    ['null', 'null'],
    ['another version', '{"format":"weft-ports","version":2}'],
    ['no ports', '{"format":"weft-ports","version":1,"service":"cart","namespace":"default"}'],
    [
      'nonsense for ports',
      '{"format":"weft-ports","version":1,"service":"cart","namespace":"default","ports":{"inbound":7,"link":"127.0.0.1:99999"}}',
    ],
  ])('start anew where the file holds %s', async (_what, text) => {
    writeFileSync(join(directory, 'ports.json'), text);
    const before = await start();
    await stop();
    expect(await start()).toEqual(before);
  });

  it('give way to who has taken one meanwhile, and to no other fault', async () => {
    const [inbound, link] = await start();
    // The link's is free again, the inbound one's is not.
    const [, second] = [...servers];
    await new Promise((resolve) => second!.close(resolve));
    servers.delete(second!);
    const again = await start();
    expect(again[0]).not.toBe(inbound);
    expect(again[1]).toBe(link);
    await stop();
    const ports = await KeptPorts.load(options());
    await expect(ports.listen('link', anyPort, () => Promise.reject(new TypeError('a fault')))).rejects.toThrow(
      'a fault',
    );
  });

  it('are not those of another Service, nor of another host', async () => {
    const before = await start();
    const text = readFileSync(join(directory, 'ports.json'), 'utf8');
    const tried: HostPort[] = [];
    const remember = (at: HostPort) => {
      tried.push(at);
      return open(at);
    };
    await stop();
    await (await KeptPorts.load({ ...options(), service: 'pay' })).listen('link', anyPort, remember);
    await (await KeptPorts.load(options())).listen('link', { host: '127.0.0.2', port: 0 }, remember);
    expect(tried.map(({ port }) => port)).toEqual([0, 0]);
    expect(readFileSync(join(directory, 'ports.json'), 'utf8')).toBe(text);
    await stop();
    expect(await start()).toEqual(before);
  });

  it('leave a port that was named as it is', async () => {
    const [named] = await start();
    await stop();
    const at = { host: '127.0.0.1', port: Number(named!.split(':')[1]) };
    expect((await start({}, at))[0]).toBe(named);
    expect(JSON.parse(readFileSync(join(directory, 'ports.json'), 'utf8')).ports.inbound).toBe(named);
  });

  it('are none without a state directory', async () => {
    await start({ directory: null });
    expect(() => readFileSync(join(directory, 'ports.json'))).toThrow(/ENOENT/);
  });
});
