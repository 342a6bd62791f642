/** Which HTTP core each listener of a sidecar runs on, for its log, its `/config` and the control plane. */
import { uwsBuild } from '../proxy/listener/uws-core.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { HttpCore, SidecarOptions } from './options.ts';

/** What decides about it. */
export type HttpCoreOptions = Pick<SidecarOptions, 'outboundHttp' | 'inbound' | 'inboundHttp'>;

export interface HttpCoreFacts {
  readonly core: 'uWebSockets.js' | 'node:http';
  readonly version: string;
  /** Where to read what this core does with requests that another would serve; absent: nothing is known. */
  readonly knownGaps?: string;
}

const page = 'docs/uws.md';

/** By listener; the link has a protocol of its own. */
export function describeHttpCores(options: HttpCoreOptions): Readonly<Record<string, HttpCoreFacts>> {
  return {
    outbound: factsOf(options.outboundHttp),
    ...(options.inbound === null ? {} : { inbound: factsOf(options.inboundHttp) }),
  };
}

export function hasOlderUwsCore(options: HttpCoreOptions): boolean {
  return Object.values(describeHttpCores(options)).some(({ knownGaps }) => knownGaps !== undefined);
}

/** Once, at start. */
export function logHttpCores(options: HttpCoreOptions, logger: Logger): void {
  for (const [listener, facts] of Object.entries(describeHttpCores(options)))
    logger.info(
      { listener, ...facts },
      facts.knownGaps === undefined
        ? 'the HTTP core of a listener'
        : `the HTTP core of a listener has known gaps; --${listener}-http node has none of them`,
    );
}

function factsOf(core: HttpCore): HttpCoreFacts {
  if (core === 'node') return { core: 'node:http', version: process.version };
  const { version, isOlder } = uwsBuild();
  return { core: 'uWebSockets.js', version, ...(isOlder ? { knownGaps: page } : {}) };
}
