/**
 * What the fields of the resources mean, and what holds where they are left out: for `weft explain`. The way to a field is that of
 * docs/resources.md, without the indexes of lists. A test holds it against the schemas, so that no field is without a sentence.
 */
export interface FieldDoc {
  readonly doc: string;
  /** Where the field is left out; absent: nothing in particular, or it must be there. */
  readonly fallback?: string;
}

const doc = (text: string, fallback?: string): FieldDoc =>
  fallback === undefined ? { doc: text } : { doc: text, fallback };

const modifier = (what: string): Readonly<Record<string, FieldDoc>> => ({
  '': doc(`Changes fields of the ${what}'s head. Host and framing fields cannot be changed.`),
  '.set': doc('Fields that replace what is there.'),
  '.set.name': doc('Its name.'),
  '.set.value': doc('Its value.'),
  '.add': doc('Fields that are added to what is there.'),
  '.add.name': doc('Its name.'),
  '.add.value': doc('Its value.'),
  '.remove': doc('Names of fields that are taken out.'),
});

const backendRef: Readonly<Record<string, FieldDoc>> = {
  '.group': doc('weft.mesh, or empty, which means the same.', "''"),
  '.kind': doc('Service: a mesh has no other.', 'Service'),
  '.namespace': doc('Of the Service.', "the route's own"),
  '.name': doc('Of the Service.'),
  '.port': doc("Must be the Service's own port where it is given."),
};

/** The Gateway API means a Gateway where a parentRef says nothing. */
const parentRef: Readonly<Record<string, FieldDoc>> = {
  ...backendRef,
  '.group': doc('weft.mesh, or empty, which means the same. Must be given.'),
  '.kind': doc('Service. Must be given.'),
};

const pathModifier = (what: string): Readonly<Record<string, FieldDoc>> => ({
  '': doc(`Changes the path of the ${what}.`, 'it stays as it is'),
  '.type': doc('Which of the two others is given.'),
  '.replaceFullPath': doc('The whole path.'),
  '.replacePrefixMatch': doc('What stands for the prefix that the match has found.'),
});

const filters: Readonly<Record<string, FieldDoc>> = {
  '.type': doc('What the filter does: names the member that must be given.'),
  ...under('.requestHeaderModifier', modifier('request')),
  ...under('.responseHeaderModifier', modifier('answer')),
  '.requestRedirect': doc('Answers with a redirect and sends the request nowhere.'),
  '.requestRedirect.scheme': doc('Of the new address.', "the request's own"),
  '.requestRedirect.hostname': doc('Of the new address.', "the request's own"),
  ...under('.requestRedirect.path', pathModifier('new address')),
  '.requestRedirect.port': doc('Of the new address.', 'that of the scheme'),
  '.requestRedirect.statusCode': doc('Of the answer.', '302'),
  '.urlRewrite': doc('Changes Host and path before the request is sent.'),
  '.urlRewrite.hostname': doc('The Host that the backend sees.', "the request's own"),
  ...under('.urlRewrite.path', pathModifier('request')),
  '.requestMirror': doc('Sends a copy of the request to another Service and drops its answer.'),
  '.requestMirror.backendRef': doc('Where the copy goes.'),
  ...under('.requestMirror.backendRef', backendRef),
  '.requestMirror.percent': doc('Of the requests; excludes fraction.', '100'),
  '.requestMirror.fraction': doc('Of the requests; excludes percent.'),
  '.requestMirror.fraction.numerator': doc('So many requests'),
  '.requestMirror.fraction.denominator': doc('out of so many.', '100'),
};

const envelope = (what: string): Readonly<Record<string, FieldDoc>> => ({
  '': doc(what),
  '.apiVersion': doc('Group and version of the kind.'),
  '.kind': doc('Of the resource.'),
  '.metadata': doc('Name, and what people and programs note down about it.'),
  '.metadata.name': doc('Of the resource, once in its namespace and kind.'),
  '.metadata.namespace': doc('A part of the mesh with names of its own.', 'default'),
  '.metadata.labels': doc('Free for use; weft apply --prune goes by them.'),
  '.metadata.annotations': doc('Free for use.'),
  '.metadata.resourceVersion': doc(
    'Set by the control plane: the revision of the last change. On a write: the one that it must still be at.',
  ),
  '.metadata.creationTimestamp': doc('Set by the control plane. Of routes that match equally well the older one wins.'),
  '.spec': doc('What is wanted.'),
});

const rows: Readonly<Record<string, FieldDoc>> = {
  ...under('Service', {
    ...envelope('What callers name in Host: cart from its own namespace, cart.default from anywhere.'),
    '.spec.protocol': doc('What its app speaks.', 'http'),
    '.spec.port': doc('What refs to this Service must say when they give a port.', '80'),
    '.spec.endpoints': doc(
      'Where its app listens, beside what sidecars register by themselves: HOST:PORT, or an object.',
      'only registered ones',
    ),
    '.spec.endpoints.address': doc('HOST:PORT of the app.'),
    '.spec.endpoints.weight': doc('Its share of requests; 0 is never picked.', '1'),
    '.spec.endpoints.zone': doc('Where it runs.'),
    '.spec.endpoints.labels': doc('Free for use, such as version.'),
    '.spec.endpoints.link': doc(
      'HOST:PORT where its sidecar listens for links: then requests go there, authenticated.',
      "the registration's, or none: plain HTTP/1.1",
    ),
    '.spec.endpoints.identity': doc('Who must answer on the link.', 'the Service itself, in the own trust domain'),
    '.spec.loadBalancer': doc('How an endpoint is picked for each request.'),
    '.spec.loadBalancer.policy': doc(
      'RoundRobin: in turn. WeightedRoundRobin: smooth, by weight. LeastRequest: the less loaded of two. Random: by weight. PeakEwma: the faster of two. RingHash, Maglev: by the key of the request.',
      'LeastRequest',
    ),
    '.spec.loadBalancer.hashOn': doc(
      'RingHash and Maglev: the first that the request carries is the key; with none the pick is random.',
    ),
    '.spec.loadBalancer.hashOn.header': doc('A header field of this name.'),
    '.spec.loadBalancer.hashOn.cookie': doc('A cookie of this name.'),
    '.spec.loadBalancer.hashOn.query': doc('A query parameter of this name.'),
    '.spec.loadBalancer.hashOn.pathSegment': doc('Counted from 0: /users/42 has users at 0 and 42 at 1.'),
    '.spec.loadBalancer.hashOn.sourceAddress': doc("The caller's address."),
    '.spec.loadBalancer.boundedLoadPercent': doc(
      'RingHash and Maglev: an endpoint above this percentage of the average of active requests is passed over.',
      'no bound',
    ),
    '.spec.loadBalancer.ringEntries': doc('RingHash: entries of the ring.', '1024'),
    '.spec.loadBalancer.decay': doc('PeakEwma: how long an observation takes to fade.', '10s'),
    '.spec.pipelining': doc(
      'Its endpoints answer requests that are sent ahead of the answers before them, each once and in order, and keep connections.',
      'one request at a time on each connection',
    ),
    '.spec.pipelining.maxRequests': doc('How many may be under way on one connection: 2 to 64.', '8'),
    '.spec.limits': doc('What the Service takes of a request, and what its answers may be (docs/limits.md).'),
    '.spec.limits.requestBodyBytes': doc('Larger bodies are refused with 413.', 'no limit'),
    '.spec.limits.requestHeadBytes': doc(
      'All fields, each with its name, its value and 4 bytes; beyond it 431.',
      "the listener's",
    ),
    '.spec.limits.requestHeadFields': doc('Number of fields; beyond it 431.', "the listener's"),
    '.spec.limits.targetBytes': doc('Path and query; beyond it 414.', "the listener's"),
    '.spec.limits.responseHeadBytes': doc('Of an answer; beyond it 502.', '65536'),
  }),
  ...under('HTTPRoute', {
    ...envelope(
      'Where requests to a Service go, by what they are. Without a route they all go to the endpoints of the Service.',
    ),
    '.spec.parentRefs': doc('The Services that the route is attached to.'),
    ...under('.spec.parentRefs', parentRef),
    '.spec.hostnames': doc(
      'Further names by which the Services are called; *. stands for any name in front.',
      "only the Services' own",
    ),
    '.spec.rules': doc('The best match of all rules decides. A request that none matches gets 404 no-route.'),
    '.spec.rules.name': doc('In metrics, instead of the number of the rule.'),
    '.spec.rules.matches': doc('Of which one must fit; within one, everything.', 'every request'),
    '.spec.rules.matches.path': doc('Of the request, normalised.', 'PathPrefix /'),
    '.spec.rules.matches.path.type': doc(
      'Exact: the path itself. PathPrefix: by whole segments. RegularExpression: the whole path.',
      'PathPrefix',
    ),
    '.spec.rules.matches.path.value': doc('What to compare with.', '/'),
    '.spec.rules.matches.headers': doc('Header fields, all of which must be there.'),
    '.spec.rules.matches.headers.type': doc(
      'Exact, or a JavaScript RegularExpression that must match the whole value.',
      'Exact',
    ),
    '.spec.rules.matches.headers.name': doc('Its name, in any case.'),
    '.spec.rules.matches.headers.value': doc('What to compare with.'),
    '.spec.rules.matches.queryParams': doc('Query parameters, all of which must be there.'),
    '.spec.rules.matches.queryParams.type': doc(
      'Exact, or a JavaScript RegularExpression that must match the whole value.',
      'Exact',
    ),
    '.spec.rules.matches.queryParams.name': doc('Its name.'),
    '.spec.rules.matches.queryParams.value': doc('What to compare with.'),
    '.spec.rules.matches.method': doc('Of the request.', 'any'),
    '.spec.rules.filters': doc('What is done to requests of the rule, or to their answers.'),
    ...under('.spec.rules.filters', filters),
    '.spec.rules.backendRefs': doc(
      'Where the requests go, split by weight: exactly, over all connections.',
      'none: 500 no-backend, unless a filter redirects',
    ),
    ...under('.spec.rules.backendRefs', backendRef),
    '.spec.rules.backendRefs.weight': doc('Its share; 0: none.', '1'),
    '.spec.rules.backendRefs.filters': doc('For what goes to this one.'),
    ...under('.spec.rules.backendRefs.filters', filters),
    '.spec.rules.timeouts': doc('Win over those of a TrafficPolicy. 0s is no limit.'),
    '.spec.rules.timeouts.request': doc('The whole request until its last byte.', 'none'),
    '.spec.rules.timeouts.backendRequest': doc("One attempt until its answer's head.", 'none'),
  }),
  ...under('TrafficPolicy', {
    ...envelope('What holds for requests to a Service, or of a route.'),
    '.spec.targetRefs': doc('What the policy is for; two policies may not say the same of one target.'),
    '.spec.targetRefs.group': doc('Of the kind.', 'it goes without saying'),
    '.spec.targetRefs.kind': doc('A policy on a route wins over one on its Service.'),
    '.spec.targetRefs.name': doc("Of the target, in the policy's own namespace."),
    '.spec.timeouts': doc('How long something may take; 0s is no limit.'),
    '.spec.timeouts.request': doc('The whole request until its last byte.', 'none'),
    '.spec.timeouts.backendRequest': doc("One attempt until its answer's head.", 'none'),
    '.spec.timeouts.idle': doc("No byte of an answer's head or of a body, either way.", '60s'),
  }),
};

/** `Service.spec.port`; null: there is no such field, or nobody has written about it. */
export const fieldDoc = (way: string): FieldDoc | null => rows[way] ?? null;

export const documentedFields = (): readonly string[] => Object.keys(rows);

function under(way: string, docs: Readonly<Record<string, FieldDoc>>): Readonly<Record<string, FieldDoc>> {
  return Object.fromEntries(Object.entries(docs).map(([below, row]) => [`${way}${below}`, row]));
}
