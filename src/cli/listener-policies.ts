/**
 * The flags that say what a listener makes of requests, each `LISTENER=VALUE` and repeatable, and the defaults, which are right for most.
 *
 * Inbound: its clients stand outside the mesh, and its app sees one peer only, the sidecar; so who called, in which scheme and by which
 * name is said, and what a load balancer in front has said stays. Outbound and link: the peer is the own app, or a sidecar whose app has
 * put into the request what it wants to pass on; a proxy's address in the middle of a mesh helps nobody, and these two are the hot path.
 * Forwarded and Via: few apps read the one, and the other tells outsiders what the mesh is made of.
 */
import { InvalidArgumentError, Option } from 'commander';
import { type ListenerName, listenerNames } from '../model/listener-limits.ts';
import type { FieldPolicy } from '../proxy/forwarding.ts';
import type { PathPolicy } from '../proxy/path.ts';
import type { ListenerPolicy } from '../sidecar/options.ts';
import { type OpenedListeners, requireListener } from './opened-listeners.ts';

type ByListener<Value> = Readonly<Partial<Record<ListenerName, Value>>>;

/** What commander hands over, by the names it derives from the flags. */
export interface ListenerPolicyFlags {
  readonly paths?: ByListener<PathPolicy>;
  readonly xForwarded?: ByListener<FieldPolicy>;
  readonly forwarded?: ByListener<FieldPolicy>;
  readonly via?: ByListener<'on' | 'off'>;
}

const fieldPolicies = ['append', 'replace', 'off'] as const;

export const pathsOption = (): Option =>
  policyOption(
    '--paths',
    'a path that is not in normal form: normalise it (default), refuse it with 400, or forward it raw',
    ['normalise', 'refuse', 'raw'],
  );

export const xForwardedOption = (): Option =>
  policyOption(
    '--x-forwarded',
    'X-Forwarded-For, -Proto and -Host (default: inbound=append, off elsewhere); replace believes nothing of what came',
    fieldPolicies,
  );

export const forwardedOption = (): Option =>
  policyOption('--forwarded', 'the field Forwarded of RFC 7239 (default: off)', fieldPolicies);

export const viaOption = (): Option => policyOption('--via', 'Via: 1.1 weft in requests (default: off)', ['on', 'off']);

function policyOption(flag: string, what: string, values: readonly string[]): Option {
  return new Option(
    `${flag} <listener=${values.join('|')}>`,
    `${what}; listeners: ${listenerNames.join(', ')}; repeatable`,
  ).argParser((text: string, earlier: ByListener<string> = {}) => {
    const [name = '', value = '', ...more] = text.split('=');
    if (!isListenerName(name) || !values.includes(value) || more.length > 0)
      throw new InvalidArgumentError(
        `Expected LISTENER=VALUE: ${listenerNames.join(', ')} and ${values.join(', ')}, for instance inbound=${values[1]}.`,
      );
    if (earlier[name] !== undefined) throw new InvalidArgumentError(`${flag} is said twice of ${name}.`);
    return { ...earlier, [name]: value };
  });
}

function isListenerName(text: string): text is ListenerName {
  return (listenerNames as readonly string[]).includes(text);
}

/**
 * The policies of all listeners, defaults filled in.
 * @throws CliError (exit code 2) for a listener that does not exist.
 */
export function listenerPoliciesOf(
  flags: ListenerPolicyFlags,
  opened: OpenedListeners,
): Readonly<Record<ListenerName, ListenerPolicy>> {
  const said = {
    '--paths': flags.paths,
    '--x-forwarded': flags.xForwarded,
    '--forwarded': flags.forwarded,
    '--via': flags.via,
  };
  for (const [flag, values = {}] of Object.entries(said))
    for (const name of listenerNames) if (name in values) requireListener(`${flag} ${name}`, name, opened);
  const policyOf = (name: ListenerName): ListenerPolicy => ({
    paths: flags.paths?.[name] ?? 'normalise',
    forwarding: {
      xForwarded: flags.xForwarded?.[name] ?? (name === 'inbound' ? 'append' : 'off'),
      forwarded: flags.forwarded?.[name] ?? 'off',
      addsVia: flags.via?.[name] === 'on',
    },
  });
  return { outbound: policyOf('outbound'), inbound: policyOf('inbound'), link: policyOf('link') };
}
