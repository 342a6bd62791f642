/** What may be said of an endpoint, wherever it is said (a resource, a flag, a sidecar's registration): its host, zone, labels and link. */
import { isIPv4, isIPv6 } from 'node:net';
import { limits } from './limits.ts';

/** Begins and ends with a letter or digit, as in Kubernetes: `__proto__` is none. For JSON schemas, hence a string. */
export const labelNamePattern = '^[A-Za-z0-9]([-A-Za-z0-9./_]{0,126}[A-Za-z0-9])?$';
export const labelNameExpected =
  'letters, digits, ".", "/", "_" and "-", with a letter or digit at both ends, 128 at most';

const labelName = new RegExp(labelNamePattern);
const hostName = /^[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?)*$/;
const digitsAndDots = /^[0-9.]+$/;
const controlCharacter = /\p{Cc}/u;

export const isLabelName = (text: string): boolean => labelName.test(text);
export const isLabelValue = (text: string): boolean =>
  text.length <= limits.labelValueCharsMax && !controlCharacter.test(text);
export const isZone = (text: string): boolean => text.length <= limits.nameCharsMax && !controlCharacter.test(text);

/** A name, an IPv4 address, or an IPv6 address without brackets. What looks like IPv4 must be. */
export function isHost(text: string): boolean {
  if (text.includes(':')) return isIPv6(text) && !text.includes('%');
  if (digitsAndDots.test(text)) return isIPv4(text);
  return text.length <= limits.hostCharsMax && hostName.test(text);
}

/** `HOST:PORT` that others can connect to: IPv6 in brackets, a port of 1 to 65535. */
export function isEndpointAddress(text: string): boolean {
  const found = /^(?:\[([^\]]*:[^\]]*)\]|([^:[\]]+)):([1-9][0-9]{0,4})$/.exec(text);
  const host = found?.[1] ?? found?.[2];
  return host !== undefined && isHost(host) && Number(found?.[3]) <= 65_535;
}
