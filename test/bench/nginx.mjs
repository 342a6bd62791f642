// nginx, the proxy that is to be beaten: one worker, no access log, connections kept.
import { accepts, waitFor } from './bench-room.mjs';

const keptForever = 'keepalive_requests 1000000000; keepalive_timeout 1h;';

/** Answers and requests of the benchmark fit into memory, so no temporary file is written. */
const bodies =
  'proxy_buffers 40 32k; proxy_busy_buffers_size 64k; proxy_max_temp_file_size 0; client_body_buffer_size 64k;';

export const plainServer = (port, upstreamPort) => `
  ${upstream(upstreamPort)}
  server {
    listen 127.0.0.1:${port} backlog=4096;
    ${passTo('http')}
  }`;

/** Plain HTTP in, mutual TLS 1.3 out. */
export const tlsClientServer = (port, upstreamPort, { rootCertificate, leaf, peerName }) => `
  ${upstream(upstreamPort)}
  server {
    listen 127.0.0.1:${port} backlog=4096;
    proxy_ssl_protocols TLSv1.3;
    proxy_ssl_certificate ${leaf.certificate};
    proxy_ssl_certificate_key ${leaf.key};
    proxy_ssl_trusted_certificate ${rootCertificate};
    proxy_ssl_verify on;
    proxy_ssl_name ${peerName};
    ${passTo('https')}
  }`;

/** Mutual TLS 1.3 in, plain HTTP out. */
export const tlsServer = (port, upstreamPort, { rootCertificate, leaf }) => `
  ${upstream(upstreamPort)}
  server {
    listen 127.0.0.1:${port} ssl backlog=4096;
    ssl_protocols TLSv1.3;
    ssl_certificate ${leaf.certificate};
    ssl_certificate_key ${leaf.key};
    ssl_client_certificate ${rootCertificate};
    ssl_verify_client on;
    ${passTo('http')}
  }`;

const upstream = (port) => `
  upstream next { server 127.0.0.1:${port}; keepalive 1024; ${keptForever} }`;

const passTo = (scheme) => `
    location / {
      proxy_pass ${scheme}://next;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
    }`;

/** Starts an nginx with one server and waits until it accepts on `port`. */
export async function startNginx(room, core, name, port, server) {
  const directory = room.makeDirectory(name);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  const configuration = room.file(
    `${name}.conf`,
    `daemon off;
worker_processes 1;
pid ${directory}/nginx.pid;
error_log stderr error;
events { worker_connections 8192; }
http {
  access_log off;
  ${keptForever}
  ${bodies}
  ${temporary.map((kind) => `${kind}_temp_path ${directory}/${kind};`).join(' ')}
  ${server}
}
`,
  );
  const started = room.start(core, 'nginx', ['-p', directory, '-c', configuration, '-e', 'stderr']);
  await waitFor(started, name, () => accepts(port));
  return started;
}
