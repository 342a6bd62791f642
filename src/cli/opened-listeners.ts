/** Which listeners a sidecar opens: a flag that says something of another one would do nothing, and nobody would know. */
import type { ListenerName } from '../model/listener-limits.ts';
import type { SidecarOptions } from '../sidecar/options.ts';
import { usageError } from './terminal.ts';

export type OpenedListeners = Pick<SidecarOptions, 'inbound' | 'link'>;

/**
 * `what` begins the sentence: the flag, and what it says of which listener.
 * @throws CliError (exit code 2) for a listener that does not exist.
 */
export function requireListener(what: string, listener: ListenerName, { inbound, link }: OpenedListeners): void {
  const isOpened = listener === 'outbound' || (listener === 'inbound' ? inbound : link) !== null;
  if (!isOpened) throw usageError(`${what}: there is no ${listener} listener (--${listener}).`);
}
