// Who competes, by topology: started once each, and then loaded in turn.
import { fileURLToPath } from 'node:url';
import { freePorts, waitFor } from './bench-room.mjs';
import * as haproxy from './haproxy.mjs';
import { startRelay } from './native-bench.mjs';
import * as nginx from './nginx.mjs';
import { startHttpSidecars, startLinkSidecars, startOneSidecar, startOneSidecarAtSocket } from './weft.mjs';

const peerName = 'hop-b.bench';

/**
 * By name, in the order of their turns. `start(field)` answers with the port (or the path of the socket) that takes the load and the processes of
 * the hops, the first one first; `field` has the room, the app's port and socket, the certificates and Node's flags by hop. `needs` is a program that may be missing.
 */
export const contestantsOf = {
  'one-hop': {
    relay: { title: 'smallest relay', start: (field) => inARow(field, 1, relayHop) },
    nginx: { title: 'nginx', needs: 'nginx', start: (field) => inARow(field, 1, nginxHop) },
    haproxy: { title: 'haproxy', needs: 'haproxy', start: (field) => inARow(field, 1, haproxyHop) },
    weft: { title: 'weft', start: (field) => startOneSidecar(field) },
    'http-proxy': { title: 'http-proxy', start: (field) => inARow(field, 1, nodeHop('http-proxy')) },
    fastify: { title: '@fastify/http-proxy', start: (field) => inARow(field, 1, nodeHop('fastify')) },
  },
  'two-hops': {
    relay: { title: 'smallest relay, twice', start: (field) => inARow(field, 2, relayHop) },
    nginx: { title: 'nginx -> nginx', needs: 'nginx', start: (field) => inARow(field, 2, nginxHop) },
    haproxy: { title: 'haproxy -> haproxy', needs: 'haproxy', start: (field) => inARow(field, 2, haproxyHop) },
    weft: { title: 'weft -> plain link -> weft', start: (field) => startLinkSidecars(field, false) },
    'http-proxy': { title: 'http-proxy, twice', start: (field) => inARow(field, 2, nodeHop('http-proxy')) },
    fastify: { title: '@fastify/http-proxy, twice', start: (field) => inARow(field, 2, nodeHop('fastify')) },
  },
  'two-hops-tls': {
    nginx: { title: 'nginx -> mutual TLS 1.3 -> nginx', needs: 'nginx', start: startTlsNginx },
    haproxy: { title: 'haproxy -> mutual TLS 1.3 -> haproxy', needs: 'haproxy', start: startTlsHaproxy },
    weft: { title: 'weft -> mutual TLS link -> weft', start: (field) => startLinkSidecars(field, true) },
  },
  'one-hop-pipelining': {
    nginx: { title: 'nginx', needs: 'nginx', start: (field) => inARow(field, 1, nginxHop) },
    weft: { title: 'weft, pipelining', start: (field) => startOneSidecar(field, { pipelining: {} }) },
    'weft-plain': { title: 'weft without', start: (field) => startOneSidecar(field) },
  },
  'one-hop-unix': {
    nginx: { title: 'nginx, TCP', needs: 'nginx', start: (field) => inARow(field, 1, nginxHop) },
    weft: { title: 'weft, called over a unix socket', start: startOneSidecarAtSocket },
    'weft-plain': { title: 'weft, TCP', start: (field) => startOneSidecar(field) },
  },
  'two-hops-unix': {
    nginx: { title: 'nginx -> nginx, TCP', needs: 'nginx', start: (field) => inARow(field, 2, nginxHop) },
    weft: {
      title: 'weft -> plain link -> weft, unix sockets',
      start: (field) => startLinkSidecars(field, false, true),
    },
    'weft-plain': { title: 'weft -> plain link -> weft, TCP', start: (field) => startLinkSidecars(field, false) },
  },
};

/** Those of `npm run bench:link`, which compares two hops of all kinds with each other. */
export const linkContestants = {
  nginx: contestantsOf['two-hops'].nginx,
  'nginx-tls': contestantsOf['two-hops-tls'].nginx,
  'smallest-link': { title: 'smallest uWS -> link -> pool', start: startSmallestSidecars },
  'weft-http': { title: 'weft -> HTTP/1.1 -> weft', start: startHttpSidecars },
  'weft-link': contestantsOf['two-hops'].weft,
  'weft-link-tls': contestantsOf['two-hops-tls'].weft,
};

/** Starts the same proxy `count` times, the last one before the app and each other one before the next. */
async function inARow(field, count, startHop) {
  const processes = [];
  let toPort = field.appPort;
  for (let hop = count; hop > 0; hop -= 1) {
    const { process, port } = await startHop(field, `${count}-${'ab'[hop - 1]}`, toPort);
    processes.unshift(process);
    toPort = port;
  }
  return { port: toPort, processes };
}

const relayHop = ({ room }, _name, toPort) => startRelay(room, toPort);

async function nginxHop({ room }, name, toPort) {
  const [port] = await freePorts(1);
  const server = nginx.plainServer(port, toPort);
  return { process: await nginx.startNginx(room, room.proxyCore, `nginx-${name}`, port, server), port };
}

async function haproxyHop({ room }, name, toPort) {
  const [port] = await freePorts(1);
  const ends = { listener: haproxy.plainListener(port), server: haproxy.plainServer(toPort) };
  return { process: await haproxy.startHaproxy(room, room.proxyCore, `haproxy-${name}`, port, ends), port };
}

const nodeHop =
  (which) =>
  async ({ room }, _name, toPort) => {
    const script = fileURLToPath(new URL('node-peer.mjs', import.meta.url));
    const started = room.start(room.proxyCore, process.execPath, [script, which, String(toPort)]);
    const line = await waitFor(started, which, () => /^\{"ready":.*\}$/m.exec(started.output)?.[0]);
    return { process: started, port: JSON.parse(line).port };
  };

async function startTlsNginx({ room, appPort, certificates }) {
  const [portA, portB] = await freePorts(2);
  const { a, b } = leavesOf(certificates, 'nginx');
  const serverB = nginx.tlsServer(portB, appPort, b);
  const serverA = nginx.tlsClientServer(portA, portB, a);
  const far = await nginx.startNginx(room, room.proxyCore, 'nginx-tls-b', portB, serverB);
  const near = await nginx.startNginx(room, room.proxyCore, 'nginx-tls-a', portA, serverA);
  return { port: portA, processes: [near, far] };
}

async function startTlsHaproxy({ room, appPort, certificates }) {
  const [portA, portB] = await freePorts(2);
  const { a, b } = leavesOf(certificates, 'haproxy');
  const farEnds = { listener: haproxy.tlsListener(room, portB, b), server: haproxy.plainServer(appPort) };
  const nearEnds = { listener: haproxy.plainListener(portA), server: haproxy.tlsServer(room, portB, a) };
  const far = await haproxy.startHaproxy(room, room.proxyCore, 'haproxy-tls-b', portB, farEnds);
  const near = await haproxy.startHaproxy(room, room.proxyCore, 'haproxy-tls-a', portA, nearEnds);
  return { port: portA, processes: [near, far] };
}

/** What each side of a connection with mutual TLS shows, and whom it believes. */
function leavesOf(certificates, program) {
  const { rootCertificate } = certificates;
  return {
    a: { rootCertificate, peerName, leaf: certificates.leaf(`${program}-a`, 'DNS:hop-a.bench') },
    b: { rootCertificate, peerName, leaf: certificates.leaf(`${program}-b`, `DNS:${peerName}`) },
  };
}

async function startSmallestSidecars({ room, appPort }) {
  const [outboundPort, linkPort] = await freePorts(2);
  const script = fileURLToPath(new URL('smallest-sidecar.mjs', import.meta.url));
  const start = async (role, from, to) => {
    const started = room.start(room.proxyCore, process.execPath, [script, role, String(from), String(to)]);
    await waitFor(started, `smallest ${role}`, () => started.output.includes('ready'));
    return started;
  };
  const b = await start('callee', linkPort, appPort);
  const a = await start('caller', outboundPort, linkPort);
  return { port: outboundPort, processes: [a, b] };
}
