/** `GET /v1/bootstrap` as a sidecar asks it, on a connection for it alone, without the cost of an HTTP client. */
import { connect } from 'node:net';
import type { Peer } from './raw-websocket.ts';

const answerBytesMax = 512 * 1024;

/**
 * Asks the API where the push port is: `done` gets its `HOST:PORT`, or why there is none. Called once, unless the answer's function was
 * called before: that ends the question.
 */
export function askForPushPort({ host, port, localAddress }: Peer, done: (answer: string | Error) => void): () => void {
  const socket = connect({ host, port, localAddress });
  const chunks: Buffer[] = [];
  let bytes = 0;
  let isDone = false;
  const end = (answer: string | Error) => {
    socket.destroy();
    if (isDone) return;
    isDone = true;
    done(answer);
  };
  socket.once('connect', () =>
    socket.write(`GET /v1/bootstrap HTTP/1.1\r\nHost: ${host}:${port}\r\nConnection: close\r\n\r\n`),
  );
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > answerBytesMax) end(new Error('the bootstrap answer is too long'));
  });
  socket.once('error', (error) => end(error));
  socket.once('close', () => end(pushPortIn(Buffer.concat(chunks).toString())));
  return () => {
    isDone = true;
    socket.destroy();
  };
}

function pushPortIn(answer: string): string | Error {
  const found = /^HTTP\/1\.1 200 [\s\S]*\r\n\r\n[\s\S]*"push":"(?:ws:\/\/)?([^/"]+)(?:\/v1\/push)?"/.exec(answer)?.[1];
  return found ?? new Error(`the bootstrap answer is ${JSON.stringify(answer.slice(0, 80))}`);
}
