/**
 * TLS on a port that speaks plain HTTP too, told apart by the first byte of a connection: 0x16 begins a TLS handshake (RFC 8446, section
 * 5.1) and no HTTP request. The HTTP server stays the owner of the port, with all its limits; it sees a connection once that is decided.
 */
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { type SecureContext, TLSSocket } from 'node:tls';
import { limits } from '../../model/limits.ts';
import { formatAddress } from '../../proxy/listener/listen-error.ts';
import type { StoreClock } from '../store/store.ts';
import { ApiError } from './api-error.ts';

const handshakeByte = 0x16;
/** How long the answer to plain HTTP has to arrive: closed at once, what the peer still sends would take it away (RST). */
const lingerMs = 1_000;

export interface TlsPortOptions {
  /** Of the certificate to show now, to who asks for this name (SNI; null: for none). A connection that it rejects for is closed. */
  readonly context: (serverName: string | null) => Promise<SecureContext>;
  readonly plain: PlainPolicy;
  readonly clock: StoreClock;
  /** Why a connection came to nothing: never the peer's fault. */
  readonly onError: (error: unknown) => void;
}

export type PlainPolicy =
  | { readonly tag: 'taken' }
  /** On connections between two loopback addresses only: what goes there no other machine can read. */
  | { readonly tag: 'on-loopback'; readonly onRefused: (peer: string) => void }
  | { readonly tag: 'refused'; readonly onRefused: (peer: string) => void };

/** The answer cuts what is not decided yet; the server's own close does not know of it. */
export function speakTlsToo(server: Server, { context, plain, clock, onError }: TlsPortOptions): () => void {
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
      else if (plain.tag === 'taken' || (plain.tag === 'on-loopback' && isLocal(socket))) {
        serveOn(socket);
        socket.resume();
      } else {
        plain.onRefused(formatAddress(socket.remoteAddress ?? 'nobody', socket.remotePort ?? 0));
        refusePlain(socket, clock);
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
  const secureContext = await context(null);
  if (socket.destroyed) return;
  const secured = new TLSSocket(socket, {
    isServer: true,
    secureContext,
    SNICallback: (serverName, done) => {
      context(serverName).then(
        (named) => done(null, named),
        (error: Error) => done(error),
      );
    },
  });
  secured.on('error', ignore);
  secured.once('secure', () => serveOn(secured));
  secured.once('close', () => socket.destroy());
}

const loopbackPattern = /^(::1|(::ffff:)?127(\.\d{1,3}){3})$/;
const isLocal = ({ localAddress = '', remoteAddress = '' }: Socket): boolean =>
  loopbackPattern.test(localAddress) && loopbackPattern.test(remoteAddress);

/** For people and scripts that left the s out: what they sent has been seen on the network already, if anybody looks. */
function refusePlain(socket: Socket, clock: StoreClock): void {
  const { reply } = new ApiError(
    'tls-required',
    'This port speaks TLS to other machines: use https:// and the root of the mesh (--ca). A token that was sent in plain HTTP should be revoked.',
  );
  const body = JSON.stringify(reply);
  socket.end(
    `HTTP/1.1 426 Upgrade Required\r\nupgrade: TLS/1.3, HTTP/1.1\r\nconnection: upgrade, close\r\ncontent-type: application/problem+json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
  const cancel = clock.after(lingerMs, () => socket.destroy());
  socket.once('close', cancel);
  socket.resume();
}

const ignore = (): void => {};
