/**
 * The listener for other sidecars: accepts links, looks at who is calling, and hands each stream to the proxy as a request like any other
 * listener does.
 */
import net from 'node:net';
import tls from 'node:tls';
import { spiffeIdOf } from '../../model/identity.ts';
import { limits } from '../../model/limits.ts';
import { defaultListenerLimits, withAddedFields } from '../../model/listener-limits.ts';
import type { CoarseTimer } from '../coarse-timer.ts';
import { failures } from '../failure.ts';
import { bindServer } from '../listener/bind-server.ts';
import { formatAddress } from '../listener/listen-error.ts';
import type { Listener, ListenerOptions } from '../request.ts';
import { type CalleeOptions, type CallerFault, LinkCallee } from './link-callee.ts';
import {
  identityIn,
  insecureHint,
  type LinkSecurity,
  linkProtocol,
  secureOptionsOf,
  tlsErrorText,
} from './link-socket.ts';

export interface LinkListenerOptions extends ListenerOptions {
  readonly security: LinkSecurity;
  /** How long a TLS handshake may take: whoever needs longer holds a socket for nothing. Default `limits.connectTimeoutMs`. */
  readonly handshakeMs?: number;
  readonly timer: CoarseTimer;
  /** The clock of `timer`, ms. */
  readonly now: () => number;
  /** A caller was turned away, or cut off: once for each, with why. */
  readonly onCallerRefused: (reason: CallerRefusal, caller: string, detail: string) => void;
}

/** Why a caller gets no link. */
export type CallerRefusal =
  | 'no-certificate'
  | 'untrusted-certificate'
  | 'expired-certificate'
  | 'foreign-identity'
  | 'not-the-link'
  | 'no-identity-yet'
  | 'violation'
  | 'handshake-failed';

/** Opens the listener. Port 0 takes any free port. Its limits of heads are those of clients. Rejects with ListenError. */
export async function createLinkListener(options: LinkListenerOptions): Promise<Listener> {
  const own = options.limits ?? defaultListenerLimits.link;
  const listener = new LinkListener({ ...options, limits: withAddedFields(own) });
  try {
    await listener.listen();
  } catch (error) {
    listener.stopFollowing();
    throw error;
  }
  return listener;
}

/** Who called, as far as the connection proves it. */
interface Caller {
  /** `web.default`; empty without TLS. */
  readonly service: string;
  /** Ms since the epoch. */
  readonly expiresAtMs: number;
}

class LinkListener implements Listener {
  address = '';
  private readonly server: net.Server;
  private readonly callees = new Set<LinkCallee>();
  private readonly sockets = new Set<net.Socket>();
  /** By the TCP connection: one that is closed does not know its peer any more. */
  private readonly callers = new WeakMap<object, string>();
  /** Ends that new certificates are taken over. */
  readonly stopFollowing: () => void;
  private isDraining = false;

  constructor(private readonly options: LinkListenerOptions & Pick<CalleeOptions, 'limits'>) {
    const { security } = options;
    if (security.tag === 'insecure') {
      this.server = net.createServer({ noDelay: true }, (socket) =>
        this.welcome(socket, { service: '', expiresAtMs: Number.POSITIVE_INFINITY }),
      );
      this.stopFollowing = () => {};
    } else {
      const server = this.createTlsServer();
      const follow = () => {
        const credentials = security.identity.current;
        if (credentials !== null) server.setSecureContext(secureOptionsOf(credentials));
      };
      follow();
      this.stopFollowing = security.identity.onChange(follow);
      this.server = server;
    }
    this.server.maxConnections = options.limits.connectionsMax;
    this.server.on('drop', () => options.onRefused(failures['connection-limit']));
    this.server.on('connection', (socket: net.Socket) => {
      this.sockets.add(socket);
      this.callers.set(socket, callerOf(socket));
      socket.once('close', () => this.sockets.delete(socket));
    });
  }

  get connections(): number {
    return this.callees.size;
  }

  async listen(): Promise<void> {
    const { host, port } = this.options;
    this.address = await bindServer(this.server, host, port);
  }

  /** Callers are told in band to open no more streams here; what they have opened, or are about to, is served. */
  drain(): void {
    if (this.isDraining) return;
    this.isDraining = true;
    this.server.close();
    for (const callee of this.callees) callee.drain();
  }

  close(): Promise<void> {
    this.isDraining = true;
    this.stopFollowing();
    return new Promise((resolve) => {
      this.server.close(() => resolve());
      for (const callee of this.callees) callee.destroy();
      for (const socket of this.sockets) socket.destroy();
    });
  }

  // --- Who is calling -------------------------------------------------------------------------------------------------------------------

  private createTlsServer(): tls.Server {
    const server = tls.createServer({
      ALPNProtocols: [linkProtocol],
      minVersion: 'TLSv1.3',
      requestCert: true,
      // Looked at below, where the reason can be told; nothing is read from anybody before.
      rejectUnauthorized: false,
      handshakeTimeout: this.options.handshakeMs ?? limits.connectTimeoutMs,
      noDelay: true,
    });
    server.on('secureConnection', (socket) => this.identify(socket));
    server.on('tlsClientError', (error, socket) => this.handshakeFailed(error, socket));
    return server;
  }

  private handshakeFailed(error: NodeJS.ErrnoException, socket: tls.TLSSocket): void {
    const { security } = this.options;
    // The TLS socket may be closed too; Node has no public way from it to the connection below it.
    const below: unknown = Reflect.get(socket, '_parent');
    const caller = (below instanceof net.Socket ? this.callers.get(below) : undefined) ?? callerOf(socket);
    // Node reports a handshake that takes too long, and leaves the connection to us.
    socket.destroy();
    if (below instanceof net.Socket) below.destroy();
    const refuse = (reason: CallerRefusal, detail: string) => this.options.onCallerRefused(reason, caller, detail);
    if (security.tag === 'mutual-tls' && security.identity.current === null)
      refuse('no-identity-yet', 'this sidecar has no certificate yet');
    else if (error.code === 'ERR_SSL_HTTP_REQUEST') refuse('not-the-link', 'the caller speaks HTTP');
    else if (error.code === 'ERR_SSL_WRONG_VERSION_NUMBER')
      refuse('not-the-link', `the caller does not speak TLS: ${insecureHint}`);
    else if (error.code === 'ECONNRESET')
      refuse('handshake-failed', 'the caller closed the connection during the handshake');
    else refuse('handshake-failed', tlsErrorText(error));
  }

  private identify(socket: tls.TLSSocket): void {
    const { security } = this.options;
    const own = security.tag === 'mutual-tls' ? security.identity.current : null;
    const certificate = socket.getPeerX509Certificate();
    if (socket.alpnProtocol !== linkProtocol) {
      this.turnAway(socket, 'not-the-link', 'the caller does not speak the link');
    } else if (own === null) {
      this.turnAway(socket, 'no-identity-yet', 'this sidecar has no certificate yet');
    } else if (certificate === undefined || socket.isSessionReused()) {
      this.turnAway(socket, 'no-certificate', 'the caller shows no certificate');
    } else if (!socket.authorized) {
      const code = String(socket.authorizationError);
      this.turnAway(socket, code === 'CERT_HAS_EXPIRED' ? 'expired-certificate' : 'untrusted-certificate', code);
    } else if (certificate.ca) {
      // X509-SVID section 4.1: nobody's identity is a certificate that could sign others.
      this.turnAway(socket, 'foreign-identity', 'the certificate is the one of an authority');
    } else {
      const caller = identityIn(certificate);
      if (caller === null || caller.trustDomain !== own.trustDomain) {
        const who = caller === null ? 'the certificate names no Service' : spiffeIdOf(caller);
        this.turnAway(socket, 'foreign-identity', `${who}; this is the trust domain ${own.trustDomain}`);
        return;
      }
      const service = `${caller.service}.${caller.namespace}`;
      this.welcome(socket, { service, expiresAtMs: Date.parse(certificate.validTo) });
    }
  }

  /** The caller is told why, and that nothing it may have sent was looked at. */
  private turnAway(socket: tls.TLSSocket, reason: CallerRefusal, detail: string): void {
    this.options.onCallerRefused(reason, callerOf(socket), detail);
    LinkCallee.turnAway(socket, `${reason}: ${detail}`, this.options);
  }

  private welcome(socket: net.Socket, { service, expiresAtMs }: Caller): void {
    const caller = callerOf(socket);
    const callee = new LinkCallee(socket, service, expiresAtMs, this.options, (fault) => {
      this.callees.delete(callee);
      if (fault !== null) this.cutOff(caller, fault);
    });
    this.callees.add(callee);
    if (this.isDraining) callee.drain();
  }

  private cutOff(caller: string, { rule, isGreeted }: CallerFault): void {
    const { onCallerRefused, security } = this.options;
    if (isGreeted) onCallerRefused('violation', caller, rule);
    else onCallerRefused('not-the-link', caller, security.tag === 'insecure' ? `${rule}: ${insecureHint}` : rule);
  }
}

const callerOf = ({ remoteAddress, remotePort }: net.Socket): string =>
  remoteAddress === undefined ? 'unknown' : formatAddress(remoteAddress, remotePort ?? 0);
