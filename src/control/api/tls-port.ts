/**
 * TLS on a port that speaks plain HTTP too, told apart by the first byte of a connection: 0x16 begins a TLS handshake (RFC 8446, section
 * 5.1) and no HTTP request. The HTTP server stays the owner of the port, with all its limits; it sees a connection once that is decided.
 */
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { type SecureContext, TLSSocket } from 'node:tls';
import { limits } from '../../model/limits.ts';
import type { StoreClock } from '../store/store.ts';

const handshakeByte = 0x16;

export interface TlsPortOptions {
  /** Of the certificate to show now. A connection that it rejects for is closed. */
  readonly context: () => Promise<SecureContext>;
  readonly clock: StoreClock;
  /** Why a connection came to nothing: never the peer's fault. */
  readonly onError: (error: unknown) => void;
}

/** The answer cuts what is not decided yet; the server's own close does not know of it. */
export function speakTlsToo(server: Server, { context, clock, onError }: TlsPortOptions): () => void {
  const serve = server.listeners('connection') as ((socket: Socket) => void)[];
  server.removeAllListeners('connection');
  const undecided = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    // The peer has as long for its first byte and its handshake as for the head of a request.
    const cut = () => socket.destroy();
    const cancel = clock.after(limits.headTimeoutMs, cut);
    const leave = () => {
      cancel();
      undecided.delete(socket);
    };
    const serveOn = (stream: Socket) => {
      leave();
      socket.off('end', cut);
      stream.off('error', ignore);
      for (const listener of serve) listener.call(server, stream);
    };
    undecided.add(socket);
    // A peer that goes away, or makes a mess of its handshake, is nobody's fault here; `close` follows.
    socket.on('error', ignore);
    socket.once('close', leave);
    socket.once('end', cut);
    socket.once('data', (first) => {
      socket.pause();
      socket.unshift(first);
      if (first[0] === handshakeByte)
        shakeHands(socket, context, serveOn).catch((error: unknown) => {
          socket.destroy();
          onError(error);
        });
      else {
        serveOn(socket);
        socket.resume();
      }
    });
  });
  return () => {
    for (const socket of undecided) socket.destroy();
  };
}

async function shakeHands(
  socket: Socket,
  context: TlsPortOptions['context'],
  serveOn: (stream: Socket) => void,
): Promise<void> {
  const secureContext = await context();
  if (socket.destroyed) return;
  const secured = new TLSSocket(socket, { isServer: true, secureContext });
  secured.on('error', ignore);
  secured.once('secure', () => serveOn(secured));
  secured.once('close', () => socket.destroy());
}

const ignore = (): void => {};
