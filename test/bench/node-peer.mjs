// The proxies that Node has had so far, each as its own documentation sets it up, with kept connections:
//   node node-peer.mjs http-proxy|fastify TO_PORT
// It prints {"ready":NAME,"port":N} when it listens.
import { Agent, createServer } from 'node:http';

const host = '127.0.0.1';
/** As many as a run may keep busy. */
const connectionsMax = 4_096;
const [name, toPort] = process.argv.slice(2);
const target = `http://${host}:${toPort}`;

if (name === 'http-proxy') {
  const { default: httpProxy } = await import('http-proxy');
  const proxy = httpProxy.createProxyServer({
    target,
    agent: new Agent({ keepAlive: true, maxSockets: connectionsMax }),
  });
  proxy.on('error', (error, _request, response) => response.writeHead(502).end(error.message));
  const server = createServer((request, response) => proxy.web(request, response));
  server.listen(0, host, () => printReady(server.address().port));
} else {
  const [{ default: fastify }, { default: httpProxy }] = await Promise.all([
    import('fastify'),
    import('@fastify/http-proxy'),
  ]);
  const app = fastify();
  app.register(httpProxy, { upstream: target, undici: { connections: connectionsMax, pipelining: 1 } });
  await app.listen({ port: 0, host });
  printReady(app.server.address().port);
}

function printReady(port) {
  console.log(JSON.stringify({ ready: name, port }));
}
