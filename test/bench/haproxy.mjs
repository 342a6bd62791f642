// haproxy, the other proxy to be compared to: one thread, no log, connections kept and shared by all clients.
import { readFileSync } from 'node:fs';
import { accepts, waitFor } from './bench-room.mjs';

const tlsVersions = 'ssl-min-ver TLSv1.3 ssl-max-ver TLSv1.3';

export const plainListener = (port) => `bind 127.0.0.1:${port} backlog 4096`;
export const plainServer = (port) => `server next 127.0.0.1:${port}`;

/** Mutual TLS 1.3 in. */
export const tlsListener = (room, port, { rootCertificate, leaf }) =>
  `${plainListener(port)} ssl crt ${pairOf(room, leaf)} ca-file ${rootCertificate} verify required ${tlsVersions}`;

/** Mutual TLS 1.3 out. */
export const tlsServer = (room, port, { rootCertificate, leaf, peerName }) =>
  `${plainServer(port)} ssl crt ${pairOf(room, leaf)} ca-file ${rootCertificate} verify required verifyhost ${peerName} sni str(${peerName}) ${tlsVersions}`;

/** Starts a haproxy and waits until it accepts on `port`. */
export async function startHaproxy(room, core, name, port, { listener, server }) {
  const configuration = room.file(
    `${name}.cfg`,
    `global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  http-reuse always
frontend in
  ${listener}
  default_backend out
backend out
  ${server}
`,
  );
  const started = room.start(core, 'haproxy', ['-db', '-f', configuration]);
  await waitFor(started, name, () => accepts(port));
  return started;
}

/** haproxy wants certificate and key in one file. */
function pairOf(room, { certificate, key }) {
  const name = `${certificate.split('/').pop()}.pem`;
  return room.file(name, readFileSync(certificate, 'utf8') + readFileSync(key, 'utf8'));
}
