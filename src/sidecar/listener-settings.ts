/** What each listener of a sidecar takes and makes of requests, in the words of its flags: for `/config`. */
import { type ListenerLimits, type ListenerName, limitNames } from '../model/listener-limits.ts';
import { describeHttpCores, type HttpCoreFacts, type HttpCoreOptions } from './http-cores.ts';
import type { SidecarOptions } from './options.ts';

export interface ListenerSettings {
  readonly address: string;
  readonly core: HttpCoreFacts['core'] | 'link';
  readonly paths: string;
  readonly xForwarded: string;
  readonly forwarded: string;
  readonly via: 'on' | 'off';
  /** By the names of `--limit`, as it takes them; `none`: unlimited. Absent: its core keeps one of its own (docs/uws.md). */
  readonly limits: Readonly<Record<string, number | string>>;
}

/** By name: `outbound`, `inbound`, `link`, `upstream:NAME`. */
export function describeListeners(
  bound: readonly { readonly name: string; readonly address: string }[],
  options: HttpCoreOptions & Pick<SidecarOptions, 'listenerPolicies' | 'limits'>,
): Readonly<Record<string, ListenerSettings>> {
  const cores = describeHttpCores(options);
  const settingsOf = (address: string, listener: ListenerName): ListenerSettings => {
    const { paths, forwarding } = options.listenerPolicies[listener];
    const core = cores[listener]?.core ?? 'link';
    return {
      address,
      core,
      paths,
      xForwarded: forwarding.xForwarded,
      forwarded: forwarding.forwarded,
      via: forwarding.addsVia ? 'on' : 'off',
      limits: limitsOf(options.limits[listener], core),
    };
  };
  return Object.fromEntries(
    bound.map(({ name, address }) => [
      name,
      settingsOf(address, name === 'inbound' || name === 'link' ? name : 'outbound'),
    ]),
  );
}

function limitsOf(limits: ListenerLimits, core: ListenerSettings['core']): ListenerSettings['limits'] {
  const shown: Record<string, number | string> = {};
  for (const [name, { field, unit, listeners, needsNodeCore }] of Object.entries(limitNames)) {
    if (!listeners.includes(limits.listener) || (core === 'uWebSockets.js' && needsNodeCore === true)) continue;
    const value = limits[field];
    if (value === Number.POSITIVE_INFINITY) shown[name] = 'none';
    else shown[name] = unit === 'duration' ? durationText(value) : value;
  }
  return shown;
}

const durationText = (ms: number): string => (ms % 1_000 === 0 ? `${ms / 1_000}s` : `${ms}ms`);
