// Weft's own contestants: one sidecar before an app, or two with HTTP/1.1 or a link between them.
import { connect } from 'node:tls';
import { service, startSidecar } from './sidecar.mjs';

const handshakeTimeoutMs = 2_000;

/** The caller's sidecar alone: the app's address is that of an app without a sidecar. */
export function startOneSidecar(field) {
  return startA(field, 'weft-one', [], [`127.0.0.1:${field.appPort}`]);
}

export async function startHttpSidecars(field) {
  const b = await startB(field, 'weft-http-b', ['--inbound', '127.0.0.1:0']);
  return startA(field, 'weft-http-a', [], [b.ready.inbound], b);
}

/** @param isSecure with mutual TLS, or in plain TCP */
export async function startLinkSidecars(field, isSecure) {
  const kind = isSecure ? 'weft-link-tls' : 'weft-link';
  const flagsOf = (name) => (isSecure ? ['--identity-dir', field.certificates.identityDir(name)] : ['--insecure-link']);
  const b = await startB(field, `${kind}-b`, ['--link', '127.0.0.1:0', ...flagsOf('b')]);
  const link = firstOf(b.ready.link);
  const protocol = await tlsProtocolOf(link);
  const wanted = isSecure ? 'TLSv1.3' : 'none';
  if (protocol !== wanted) throw new Error(`the link listener speaks TLS: ${protocol}, and not ${wanted}`);
  // The link's address is the endpoint's only one: whoever fell back to HTTP/1.1 would fail, and not be measured as the link.
  return startA(field, `${kind}-a`, flagsOf('a'), [{ address: link, link }], b);
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
  const processes = b === undefined ? [a.process] : [a.process, b.process];
  return { port: Number(a.ready.outbound.split(':').pop()), processes };
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
