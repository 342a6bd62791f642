/** `--limit LISTENER.NAME=VALUE`: what a listener of a sidecar takes from its clients, where that is not the default. */
import { InvalidArgumentError } from 'commander';
import { parseBytes } from '../model/byte-size.ts';
import { parseDuration } from '../model/duration.ts';
import {
  defaultListenerLimits,
  type LimitName,
  type ListenerLimits,
  type ListenerName,
  limitNames,
  listenerNames,
} from '../model/listener-limits.ts';
import type { HttpCore, SidecarOptions } from '../sidecar/options.ts';
import { type OpenedListeners, requireListener } from './opened-listeners.ts';
import { usageError } from './terminal.ts';

/** Beside whose app the sidecar runs. */
interface ServiceName {
  readonly name: string;
  readonly namespace: string;
}

/** One use of the flag. */
export interface GivenLimit {
  readonly listener: ListenerName;
  readonly name: string;
  /** In the unit of its field. */
  readonly value: number;
}

const namesFor = (listener: ListenerName): string =>
  Object.keys(limitNames)
    .filter((name) => limitNames[name]!.listeners.includes(listener))
    .join(', ');

/** Names and ranges are in the page, and in what a wrong use is told. */
export const limitFlagHelp =
  'what a listener takes from its clients, such as inbound.body-bytes=10MiB; repeatable; names and ranges: docs/limits.md';

/** For commander: one more use of the flag. */
export function collectLimit(text: string, earlier: readonly GivenLimit[] = []): readonly GivenLimit[] {
  const [, listenerText = '', name = '', valueText = ''] = /^([^.=]*)\.([^=]*)=(.*)$/s.exec(text) ?? [];
  const listener = listenerNames.find((each) => each === listenerText);
  if (listener === undefined)
    throw new InvalidArgumentError(
      `Expected LISTENER.NAME=VALUE, for instance inbound.connections=2000; LISTENER is one of ${listenerNames.join(', ')}.`,
    );
  const limit = Object.hasOwn(limitNames, name) ? limitNames[name]! : null;
  if (limit === null || !limit.listeners.includes(listener))
    throw new InvalidArgumentError(`The limits of ${listener} are ${namesFor(listener)}.`);
  if (earlier.some((each) => each.listener === listener && each.name === name))
    throw new InvalidArgumentError(`${listener}.${name} is given twice.`);
  const value = parseValue(valueText, limit);
  if (!(value >= limit.min && value <= limit.max))
    throw new InvalidArgumentError(`Expected ${listener}.${name} as ${expected(limit)}.`);
  return [...earlier, { listener, name, value }];
}

/** NaN for what is no value of this limit. */
function parseValue(text: string, { unit }: LimitName): number {
  if (unit === 'count') return /^[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN;
  try {
    return unit === 'duration' ? parseDuration(text) : parseBytes(text);
  } catch {
    return Number.NaN;
  }
}

function expected({ unit, min, max }: LimitName): string {
  if (unit === 'duration') return `a duration of ${min}ms to ${max / 3600_000}h such as 500ms or 10s`;
  if (unit === 'count') return `a whole number of ${min} to ${max}`;
  return `${unit}, ${min} to ${max}; KiB, MiB or GiB may follow the number`;
}

/**
 * The limits of all listeners, defaults filled in.
 * @throws CliError (exit code 2) for a listener that does not exist, or one whose HTTP core cannot keep the limit.
 */
export function listenerLimitsOf(
  given: readonly GivenLimit[],
  options: OpenedListeners & Pick<SidecarOptions, 'inboundHttp' | 'outboundHttp'> & { readonly service: ServiceName },
): SidecarOptions['limits'] {
  const sidecarOf = `${options.service.name}.${options.service.namespace}`;
  const { outbound, inbound, link } = defaultListenerLimits;
  const limits: Record<ListenerName, ListenerLimits> = {
    outbound,
    inbound: { ...inbound, sidecarOf },
    link: { ...link, sidecarOf },
  };
  for (const { listener, name, value } of given) {
    requireListener(`--limit ${listener}.${name}`, listener, options);
    if (listener !== 'link') checkCore(listener, name, options[`${listener}Http`]);
    limits[listener] = { ...limits[listener], [limitNames[name]!.field]: value };
  }
  return limits;
}

/** docs/uws.md has why. */
function checkCore(listener: 'outbound' | 'inbound', name: string, core: HttpCore): void {
  if (core === 'node' || limitNames[name]!.needsNodeCore !== true) return;
  throw usageError(
    `--limit ${listener}.${name} needs --${listener}-http node: uWebSockets.js ${
      name === 'head-time'
        ? 'cuts slow heads by itself, after 8 to 12 s'
        : 'does not show which connection a request came on'
    }.`,
  );
}
