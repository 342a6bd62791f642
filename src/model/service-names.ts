/** The names by which callers reach a Service, whatever routes add to them. */

import { defaultNamespace } from './resources.ts';

/** What may follow `NAME.NAMESPACE`, so that names written for Kubernetes work as they are. */
export const qualifiedSuffixes = ['', '.svc', '.svc.cluster.local'] as const;

/** `cart.default`, `cart.default.svc`, `cart.default.svc.cluster.local`. In its own namespace a Service is also called by its short name. */
export const qualifiedNames = (name: string, namespace: string): string[] =>
  qualifiedSuffixes.map((suffix) => `${name}.${namespace}${suffix}`);

/** In place of a namespace: all of them. No namespace has this name, so only who may write everywhere may write there. */
export const everyNamespace = '*';
const aboveNamespaces: ReadonlySet<string> = new Set(['svc', 'svc.cluster.local', 'cluster.local', 'local']);

/**
 * The namespace whose Service has a hostname for its own name or, `*.` in front, whose Services have names below it; null: none. A name of
 * two labels, such as `example.com`, is one of the mesh only where `isNamespace` knows the second.
 */
export function namespaceNamedBy(hostname: string, isNamespace: (name: string) => boolean): string | null {
  const isWildcard = hostname.startsWith('*.');
  const name = isWildcard ? hostname.slice(2) : hostname;
  if (isWildcard && aboveNamespaces.has(name)) return everyNamespace;
  if (!isWildcard && !name.includes('.')) return defaultNamespace;
  for (const suffix of qualifiedSuffixes) {
    if (!name.endsWith(suffix)) continue;
    const labels = name.slice(0, name.length - suffix.length).split('.');
    const namespace = labels.at(-1)!;
    if (labels.length === (isWildcard ? 1 : 2) && (suffix !== '' || isNamespace(namespace))) return namespace;
  }
  return null;
}
