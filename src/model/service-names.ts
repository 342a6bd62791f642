/** The names by which callers reach a Service, whatever routes add to them. */

/** What may follow `NAME.NAMESPACE`, so that names written for Kubernetes work as they are. */
export const qualifiedSuffixes = ['', '.svc', '.svc.cluster.local'] as const;

/** `cart.default`, `cart.default.svc`, `cart.default.svc.cluster.local`. In its own namespace a Service is also called by its short name. */
export const qualifiedNames = (name: string, namespace: string): string[] =>
  qualifiedSuffixes.map((suffix) => `${name}.${namespace}${suffix}`);
