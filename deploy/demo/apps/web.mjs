// The web service: answers every request with what the cart service says, which it calls through its own sidecar.
// All it knows of Weft is WEFT_OUTBOUND, and that Host names the service.
import { Agent, createServer, get } from 'node:http';

const outbound = process.env.WEFT_OUTBOUND;
// A caller retires idle connections before the listener does, or a request can meet a connection that is just closing.
const agent = new Agent({ keepAlive: true, timeout: 4_000 });

createServer((_request, response) => {
  const fail = (reason) => {
    if (!response.headersSent) response.writeHead(502, { 'content-type': 'text/plain' });
    response.end(`cart: ${reason}`);
  };
  get(`${outbound}/cart.json`, { agent, headers: { host: 'cart' } }, (answer) => {
    response.writeHead(answer.statusCode, { 'content-type': answer.headers['content-type'] ?? 'text/plain' });
    answer.on('error', (error) => response.destroy(error));
    answer.pipe(response);
  }).on('error', (error) => fail(error.message));
}).listen(Number(process.env.PORT), '127.0.0.1');
