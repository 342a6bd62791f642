/** What is wrong with what a sidecar says of itself. It ends up in the store and in other sidecars, so it is checked at the border. */
import { isEndpointAddress, isLabelName, isLabelValue, isZone, labelNameExpected } from '../model/endpoint-fields.ts';
import { limits } from '../model/limits.ts';
import type { Registration } from '../model/registration.ts';
import type { Hello } from '../wire/sidecar-frame.ts';

export interface HelloFault {
  readonly code:
    | 'bad-hello'
    | 'bad-registration'
    | 'bad-host'
    | 'too-many-subscriptions'
    | 'too-many-objects'
    | 'wrong-identity'
    | 'lease-too-large';
  readonly message: string;
}

export const tooManyObjects: HelloFault = {
  code: 'too-many-objects',
  message: `a sidecar holds at most ${limits.heldObjectsMax} objects`,
};
export const tooManySubscriptions: HelloFault = {
  code: 'too-many-subscriptions',
  message: `a sidecar has at most ${limits.subscriptionsMax} subscriptions`,
};

const sidecarPattern = /^[A-Za-z0-9_-]{1,64}$/;
const namePattern = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
/** Wider than a resource's hostnames: an app may ask for anything that its HTTP library lets through, and gets the answer `none`. */
const hostPattern = /^[\x21-\x7e]{1,253}$/;
const versionCharsMax = 64;

/** Null: nothing is wrong. Also for a part of a Hello of which more follows. */
export function faultOfHello(hello: Hello): HelloFault | null {
  const { sidecar, service, namespace, softwareVersion, registration, held, hosts } = hello;
  if (!sidecarPattern.test(sidecar)) return bad('the name of a sidecar is 1 to 64 letters, digits, - and _');
  if (!isName(service)) return bad(`"${service.slice(0, 80)}" is no name for a Service`);
  if (!isName(namespace)) return bad(`"${namespace.slice(0, 80)}" is no name for a namespace`);
  if (softwareVersion.length > versionCharsMax) return bad(`a version has at most ${versionCharsMax} characters`);
  if (held.size > limits.heldObjectsMax) return tooManyObjects;
  return faultOfHosts(hosts) ?? (registration === null ? null : faultOfRegistration(registration));
}

/** Null: nothing is wrong with these subscriptions. */
export function faultOfHosts(hosts: Iterable<string>): HelloFault | null {
  let count = 0;
  for (const host of hosts) {
    if (!hostPattern.test(host)) return { code: 'bad-host', message: 'a host has 1 to 253 printable ASCII characters' };
    if (++count > limits.subscriptionsMax) return tooManySubscriptions;
  }
  return null;
}

/** Null: nothing is wrong with it. */
export function faultOfRegistration({ address, zone, labels, weight, link }: Registration): HelloFault | null {
  if (!isEndpointAddress(address)) return badRegistration('its address must be HOST:PORT, with a port of 1 to 65535');
  if (!isZone(zone))
    return badRegistration(`its zone has at most ${limits.nameCharsMax} characters, and no control characters`);
  if (!Number.isInteger(weight) || weight < 0 || weight > limits.weightMax)
    return badRegistration(`its weight is a whole number of 0 to ${limits.weightMax}`);
  if (link.length > limits.linkAddressesMax)
    return badRegistration(`it has at most ${limits.linkAddressesMax} link addresses`);
  if (!link.every(isEndpointAddress))
    return badRegistration('each of its link addresses must be HOST:PORT, with a port of 1 to 65535');
  const entries = Object.entries(labels);
  if (entries.length > limits.labelsMax) return badRegistration(`it has at most ${limits.labelsMax} labels`);
  for (const [name, value] of entries) {
    if (!isLabelName(name)) return badRegistration(`the name of a label has ${labelNameExpected}`);
    if (!isLabelValue(value))
      return badRegistration(
        `its label ${name} has at most ${limits.labelValueCharsMax} characters, and no control characters`,
      );
  }
  return null;
}

const isName = (text: string): boolean => text.length <= limits.nameCharsMax && namePattern.test(text);
const bad = (message: string): HelloFault => ({ code: 'bad-hello', message });
const badRegistration = (what: string): HelloFault => ({
  code: 'bad-registration',
  message: `the registration is not valid: ${what}`,
});
