// The cart service in Node: `node cart.mjs PORT VERSION`. It knows nothing of Weft.
import { createServer } from 'node:http';

const [port, version] = process.argv.slice(2);
const body = JSON.stringify({ version, server: 'Node', items: ['tea', 'bread', 'salt'] });
createServer((_request, response) => {
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
  response.end(body);
}).listen(Number(port), '127.0.0.1');
