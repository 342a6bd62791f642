// The contestants: each is two proxies in a row before the same app, started once and then loaded in turn.
import { connect } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { freePorts, waitFor } from './bench-room.mjs';
import { plainServer, startNginx, tlsClientServer, tlsServer } from './nginx.mjs';
import { service, startSidecar } from './sidecar.mjs';

const handshakeTimeoutMs = 2_000;

/**
 * By name. `start(field)` answers with the port that takes the load and both hops' processes, A first; `field` has the room, the app's
 * port, the certificates and Node's flags by hop.
 */
export const contestants = {
  nginx: { title: 'nginx -> nginx', start: startPlainNginx },
  'nginx-tls': { title: 'nginx -> mutual TLS 1.3 -> nginx', start: startTlsNginx },
  'smallest-link': { title: 'smallest uWS -> link -> pool', start: startSmallestSidecars },
  'weft-http': { title: 'weft -> HTTP/1.1 -> weft', start: startHttpSidecars },
  'weft-link': { title: 'weft -> plain link -> weft', start: (field) => startLinkSidecars(field, insecureFlags) },
  'weft-link-tls': {
    title: 'weft -> mutual TLS link -> weft',
    start: (field) => startLinkSidecars(field, secureFlags),
  },
};

async function startPlainNginx({ room, appPort }) {
  const [portA, portB] = await freePorts(2);
  const b = await startNginx(room, room.proxyCore, 'nginx-b', portB, plainServer(portB, appPort));
  const a = await startNginx(room, room.proxyCore, 'nginx-a', portA, plainServer(portA, portB));
  return { port: portA, processes: [a, b] };
}

async function startTlsNginx({ room, appPort, certificates }) {
  const [portA, portB] = await freePorts(2);
  const peerName = 'nginx-b.bench';
  const of = (leaf) => ({ rootCertificate: certificates.rootCertificate, leaf, peerName });
  const serverB = tlsServer(portB, appPort, of(certificates.leaf('nginx-b', `DNS:${peerName}`)));
  const serverA = tlsClientServer(portA, portB, of(certificates.leaf('nginx-a', 'DNS:nginx-a.bench')));
  const b = await startNginx(room, room.proxyCore, 'nginx-tls-b', portB, serverB);
  const a = await startNginx(room, room.proxyCore, 'nginx-tls-a', portA, serverA);
  return { port: portA, processes: [a, b] };
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

async function startHttpSidecars(field) {
  const b = await startB(field, 'weft-http-b', ['--inbound', '127.0.0.1:0']);
  return startA(field, 'weft-http-a', [], [b.ready.inbound], b);
}

const insecureFlags = () => ['--insecure-link'];
const secureFlags = ({ certificates }, name) => ['--identity-dir', certificates.identityDir(name)];

async function startLinkSidecars(field, flagsOf) {
  const kind = flagsOf === insecureFlags ? 'weft-link' : 'weft-link-tls';
  const b = await startB(field, `${kind}-b`, ['--link', '127.0.0.1:0', ...flagsOf(field, 'b')]);
  const link = firstOf(b.ready.link);
  const protocol = await tlsProtocolOf(link);
  const wanted = flagsOf === insecureFlags ? 'none' : 'TLSv1.3';
  if (protocol !== wanted) throw new Error(`the link listener speaks TLS: ${protocol}, and not ${wanted}`);
  // The link's address is the endpoint's only one: whoever fell back to HTTP/1.1 would fail, and not be measured as the link.
  return startA(field, `${kind}-a`, flagsOf(field, 'a'), [{ address: link, link }], b);
}

function startB({ room, appPort, nodeFlags }, name, flags) {
  const app = `127.0.0.1:${appPort}`;
  return startSidecar(room, {
    ...{ name, service: 'b', resources: [service('b', [])], nodeFlags: nodeFlags.b },
    flags: ['--app', app, ...flags],
  });
}

async function startA({ room, nodeFlags }, name, flags, endpoints, b) {
  const a = await startSidecar(room, {
    ...{ name, service: 'a', resources: [service('b', endpoints)], nodeFlags: nodeFlags.a },
    flags,
  });
  return { port: Number(a.ready.outbound.split(':').pop()), processes: [a.process, b.process] };
}

/** What a listener answers a TLS client without a certificate, who learns the protocol before it is refused; `none` for no TLS. */
function tlsProtocolOf(address) {
  const [host, port] = address.split(':');
  return new Promise((resolve) => {
    const socket = connect({ host, port: Number(port), rejectUnauthorized: false, timeout: handshakeTimeoutMs });
    const end = (answer) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('secureConnect', () => end(socket.getProtocol()));
    for (const event of ['error', 'close', 'timeout']) socket.once(event, () => end('none'));
  });
}

/** A ready line names one address, or a list with one for every loop. */
const firstOf = (addresses) => (Array.isArray(addresses) ? addresses[0] : addresses);
