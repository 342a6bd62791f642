/** What a sidecar says of the HTTP cores of its listeners. */
import { describe, expect, it } from 'vitest';
import { uwsBuild } from '../../../src/proxy/listener/uws-core.ts';
import {
  describeHttpCores,
  type HttpCoreOptions,
  hasOlderUwsCore,
  logHttpCores,
} from '../../../src/sidecar/http-cores.ts';
import type { Logger } from '../../../src/telemetry/logger.ts';

const node: HttpCoreOptions = { outboundHttp: 'node', inbound: { host: '127.0.0.1', port: 0 }, inboundHttp: 'node' };

describe('the build of uWebSockets.js', () => {
  it.each([
    ['108', true],
    ['115', true],
    ['120', true],
    ['127', false],
    ['137', false],
  ])('for the binary interface %s is the older one: %s', (abi, isOlder) => {
    expect(uwsBuild(abi).isOlder).toBe(isOlder);
    expect(uwsBuild(abi).version).toMatch(isOlder ? /Node 20/ : /Node 22/);
  });
});

describe('the HTTP cores of a sidecar', () => {
  const { version, isOlder } = uwsBuild();
  const uws = { core: 'uWebSockets.js', version, ...(isOlder ? { knownGaps: 'docs/uws.md' } : {}) };

  it('are described by listener, with the gaps that are known', () => {
    const own = { core: 'node:http', version: process.version };
    expect(describeHttpCores(node)).toEqual({ outbound: own, inbound: own });
    expect(describeHttpCores({ ...node, outboundHttp: 'uws', inbound: null })).toEqual({ outbound: uws });
  });

  it('are reported where one of them is the older uWebSockets.js', () => {
    expect(hasOlderUwsCore(node)).toBe(false);
    expect(hasOlderUwsCore({ ...node, outboundHttp: 'uws' })).toBe(isOlder);
    expect(hasOlderUwsCore({ ...node, inboundHttp: 'uws' })).toBe(isOlder);
    // A listener that does not exist runs on nothing.
    expect(hasOlderUwsCore({ ...node, inbound: null, inboundHttp: 'uws' })).toBe(false);
  });

  it('are logged, each once', () => {
    const lines: unknown[] = [];
    const logger = { info: (facts: unknown, text: string) => lines.push([facts, text]) } as unknown as Logger;
    logHttpCores({ ...node, outboundHttp: 'uws' }, logger);
    expect(lines).toEqual([
      [{ listener: 'outbound', ...uws }, expect.stringMatching(isOlder ? /--outbound-http node has none/ : /core/)],
      [{ listener: 'inbound', core: 'node:http', version: process.version }, 'the HTTP core of a listener'],
    ]);
  });
});
