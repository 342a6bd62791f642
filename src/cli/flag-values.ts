/** What the values of flags mean: addresses, names, durations, labels. Each parser answers a value or says what was expected. */
import { resolve } from 'node:path';
import { InvalidArgumentError } from 'commander';
import { parseDuration } from '../model/duration.ts';
import { isHost, isLabelName, isLabelValue, isZone, labelNameExpected } from '../model/endpoint-fields.ts';
import type { HostPort, LocalAddress, SocketPath } from '../model/host-port.ts';
import { limits } from '../model/limits.ts';
import { defaultNamespace } from '../model/resources.ts';
import type { UpstreamListener } from '../sidecar/options.ts';

const socketPrefix = 'unix:';
const labelName = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const hostName = /^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?$/;

/** `HOST:PORT`, IPv6 in brackets. Port 0 (any free port) is allowed: it is a place to listen. */
export function parseListenAddress(text: string): HostPort {
  if (text.startsWith(`${socketPrefix}/`))
    throw new InvalidArgumentError('Expected HOST:PORT: unix sockets are for --app and --outbound.');
  const found = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):([0-9]{1,5})$/.exec(text);
  const host = found?.[1] ?? found?.[2];
  const port = Number(found?.[3]);
  if (host === undefined || !isHost(host) || !(port <= 65_535))
    throw new InvalidArgumentError('Expected HOST:PORT, for instance 127.0.0.1:15001 (port 0: any free port).');
  return { host, port };
}

/** `HOST:PORT` of something that already listens. */
export function parseTargetAddress(text: string): HostPort {
  const address = parseListenAddress(text);
  if (address.port === 0) throw new InvalidArgumentError('Expected the port that is listened on, 1 to 65535.');
  return address;
}

/** `HOST:PORT`, or `unix:PATH`, as a place to listen that only this machine can reach. */
export const parseLocalListenAddress = (text: string): LocalAddress =>
  text.startsWith(socketPrefix) ? parseSocketPath(text) : parseListenAddress(text);

/** `HOST:PORT`, or `unix:PATH`, of the app. */
export const parseAppAddress = (text: string): LocalAddress =>
  text.startsWith(socketPrefix) ? parseSocketPath(text) : parseTargetAddress(text);

/** A relative path begins at the working directory. */
function parseSocketPath(text: string): SocketPath {
  const said = text.slice(socketPrefix.length);
  if (said === '') throw new InvalidArgumentError('Expected unix:PATH, for instance unix:/run/cart/app.sock.');
  const path = resolve(said);
  const bytes = Buffer.byteLength(path);
  if (bytes > limits.socketPathBytesMax)
    throw new InvalidArgumentError(
      `The system takes at most ${limits.socketPathBytesMax} bytes for the path of a unix socket, and ${path} has ${bytes}.`,
    );
  return { path };
}

/** Of a file, as chmod(1) takes it: `600`, `660`. Nobody can connect without the right to write, and this user must. */
export function parseSocketMode(text: string): number {
  const mode = /^0?[0-7]{3}$/.test(text) ? Number.parseInt(text, 8) : 0;
  if ((mode & 0o600) !== 0o600)
    throw new InvalidArgumentError(
      'Expected three octal digits, for instance 600 (this user) or 660 (its group, too).',
    );
  return mode;
}

export function parsePort(text: string): number {
  const port = /^[0-9]{1,5}$/.test(text) ? Number(text) : 0;
  if (port < 1 || port > 65_535) throw new InvalidArgumentError('Expected a port, 1 to 65535.');
  return port;
}

/** Whether only this machine can reach an address. */
export const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || /^127(\.[0-9]{1,3}){3}$/.test(host);

/** `NAME` or `NAME.NAMESPACE`. */
export function parseServiceName(text: string): { readonly name: string; readonly namespace: string } {
  const [name = '', namespace = defaultNamespace, ...more] = text.split('.');
  if (more.length > 0 || !isName(name) || !isName(namespace))
    throw new InvalidArgumentError('Expected NAME or NAME.NAMESPACE in lower-case letters, digits and "-".');
  return { name, namespace };
}

const isName = (text: string): boolean => text.length <= limits.nameCharsMax && labelName.test(text);

export function parseNamespace(text: string): string {
  if (!isName(text)) throw new InvalidArgumentError('Expected lower-case letters, digits and "-".');
  return text;
}

/** Milliseconds out of `250ms`, `30s`, `1m30s`, `2h`; at most `limits.timeoutMsMax`. */
export function parseWait(text: string): number {
  let waitMs = Number.NaN;
  try {
    waitMs = parseDuration(text);
  } catch {
    // Not a duration at all: said below, together with what is too long.
  }
  if (!(waitMs <= limits.timeoutMsMax))
    throw new InvalidArgumentError('Expected a duration of at most 24h such as 250ms, 30s or 1m30s.');
  return waitMs;
}

/** A whole number of 1 to 100. */
export function parsePercent(text: string): number {
  const percent = Number(text);
  if (!/^\d{1,3}$/.test(text) || percent < 1 || percent > 100)
    throw new InvalidArgumentError('Expected a whole number of 1 to 100.');
  return percent;
}

/** `http://HOST:PORT` or `https://HOST:PORT`; without a scheme it is http. Answers it without a trailing slash. */
export function parseServerUrl(text: string): string {
  const whole = text.includes('://') ? text : `http://${text}`;
  const url = URL.canParse(whole) ? new URL(whole) : null;
  const isBare = url !== null && url.pathname === '/' && url.search === '' && url.hash === '' && url.username === '';
  if (!isBare || !['http:', 'https:'].includes(url.protocol))
    throw new InvalidArgumentError(
      'Expected http://HOST:PORT or https://HOST:PORT, for instance http://127.0.0.1:7070.',
    );
  return url.origin;
}

/** One or several of those, separated by commas. */
export function parseServerUrls(text: string): readonly string[] {
  return text.split(',').map((part) => parseServerUrl(part.trim()));
}

/** `NAME=HOST:PORT`, collected: the flag may be given several times. */
export function collectUpstream(text: string, earlier: readonly UpstreamListener[] = []): readonly UpstreamListener[] {
  const [name = '', address, ...more] = text.split('=');
  if (address === undefined || more.length > 0 || !hostName.test(name))
    throw new InvalidArgumentError('Expected SERVICE=HOST:PORT, for instance cart=127.0.0.1:9101.');
  if (earlier.some((upstream) => upstream.name === name.toLowerCase()))
    throw new InvalidArgumentError(`"${name}" already has a port.`);
  return [...earlier, { name: name.toLowerCase(), address: parseListenAddress(address) }];
}

/** `KEY=VALUE`, collected. Both are those of a label in a resource. */
export function collectLabel(text: string, earlier: Readonly<Record<string, string>> = {}): Record<string, string> {
  const separator = text.indexOf('=');
  const key = text.slice(0, Math.max(separator, 0));
  const value = text.slice(separator + 1);
  if (!isLabelName(key))
    throw new InvalidArgumentError(`Expected KEY=VALUE, for instance version=v2; KEY has ${labelNameExpected}.`);
  if (!isLabelValue(value))
    throw new InvalidArgumentError(
      `Expected KEY=VALUE; VALUE has at most ${limits.labelValueCharsMax} characters, and no control characters.`,
    );
  const labels = { ...earlier, [key]: value };
  if (Object.keys(labels).length > limits.labelsMax)
    throw new InvalidArgumentError(`Expected at most ${limits.labelsMax} labels.`);
  return labels;
}

/** A host without a port; IPv6 with or without brackets, answered without. */
export function parseHost(text: string): string {
  const host = /^\[(.*:.*)\]$/.exec(text)?.[1] ?? text;
  if (!isHost(host))
    throw new InvalidArgumentError('Expected a host name, or an IPv4 or IPv6 address, without a port.');
  return host;
}

export function parseZone(text: string): string {
  if (!isZone(text))
    throw new InvalidArgumentError(`Expected at most ${limits.nameCharsMax} characters, and no control characters.`);
  return text;
}

/** Collects the values of a flag that may be given several times. */
export const collect = (text: string, earlier: readonly string[] = []): readonly string[] => [...earlier, text];
