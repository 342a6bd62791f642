// Weft's own contestants: one sidecar before an app, or two with HTTP/1.1 or a link between them.
import { connect } from 'node:tls';
import { service, startSidecar } from './sidecar.mjs';

const handshakeTimeoutMs = 2_000;

/**
 * The caller's sidecar alone: the app's address is that of an app without a sidecar.
 * @param spec what else the app's Service says
 */
export function startOneSidecar(field, spec = {}) {
  const name = `weft-one${Object.keys(spec)
    .map((key) => `-${key}`)
    .join('')}`;
  return startA(field, { name, endpoints: [`127.0.0.1:${field.appPort}`], spec });
}

/** The same, called over a unix socket. */
export function startOneSidecarAtSocket(field) {
  const name = 'weft-one-unix';
  return startA(field, { name, endpoints: [`127.0.0.1:${field.appPort}`], outbound: socketOf(field, name) });
}

export async function startHttpSidecars(field) {
  const b = await startB(field, 'weft-http-b', ['--inbound', '127.0.0.1:0']);
  return startA(field, { name: 'weft-http-a', endpoints: [b.ready.inbound], b });
}

/**
 * @param isSecure with mutual TLS, or in plain TCP
 * @param isLocal app and sidecar meet at unix sockets, on both sides
 */
export async function startLinkSidecars(field, isSecure, isLocal = false) {
  const kind = `weft-link${isSecure ? '-tls' : ''}${isLocal ? '-unix' : ''}`;
  const flagsOf = (name) => (isSecure ? ['--identity-dir', field.certificates.identityDir(name)] : ['--insecure-link']);
  const app = isLocal ? `unix:${field.appSocket}` : undefined;
  const b = await startB(field, `${kind}-b`, ['--link', '127.0.0.1:0', ...flagsOf('b')], app);
  const link = firstOf(b.ready.link);
  const protocol = await tlsProtocolOf(link);
  const wanted = isSecure ? 'TLSv1.3' : 'none';
  if (protocol !== wanted) throw new Error(`the link listener speaks TLS: ${protocol}, and not ${wanted}`);
  // The link's address is the endpoint's only one: whoever fell back to HTTP/1.1 would fail, and not be measured as the link.
  const name = `${kind}-a`;
  const outbound = isLocal ? socketOf(field, name) : undefined;
  return startA(field, { name, flags: flagsOf('a'), endpoints: [{ address: link, link }], outbound, b });
}

const socketOf = ({ room }, name) => `unix:${room.path(`${name}.sock`)}`;

function startB({ room, appPort, nodeFlags }, name, flags, app = `127.0.0.1:${appPort}`) {
  return startSidecar(room, {
    ...{ name, service: 'b', resources: [service('b', [])], nodeFlags: nodeFlags.b },
    flags: ['--app', app, ...flags],
  });
}

async function startA({ room, nodeFlags }, { name, flags = [], endpoints, spec, outbound, b }) {
  const a = await startSidecar(room, {
    ...{ name, service: 'a', resources: [service('b', endpoints, spec)], nodeFlags: nodeFlags.a },
    ...{ flags, outbound },
  });
  const processes = b === undefined ? [a.process] : [a.process, b.process];
  const [, place] = a.ready.outbound.split(':');
  return a.ready.outbound.startsWith('unix:') ? { socketPath: place, processes } : { port: Number(place), processes };
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
