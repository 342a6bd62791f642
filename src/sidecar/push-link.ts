/** One connection to one control plane, from the question where its push port is to the close. Frames in, frames out; no protocol. */
import type { TLSSocket } from 'node:tls';
import WebSocket from 'ws';
import { limits } from '../model/limits.ts';
import type { Clock } from './clock.ts';
import { withDeadline } from './deadline.ts';
import { askForBootstrap } from './identity/bootstrap-client.ts';
import { type ControlPlaneTrust, connectToControlPlane } from './identity/control-plane-contact.ts';
import { Silence, silenceLookMs } from './silence.ts';

export interface PushLinkEvents {
  readonly onFrame: (bytes: Uint8Array) => void;
  /** Called once, whoever ended it. */
  readonly onClosed: (reason: string) => void;
}

export interface PushLink {
  /** The address of this machine on the connection: how the control plane's network sees this sidecar. */
  readonly localAddress: string;
  /** Bytes that were sent and not taken by the network yet. */
  readonly bufferedBytes: number;
  send(frame: Uint8Array): void;
  close(): void;
}

export interface PushCredentials {
  /** Shown to the push port; null: nothing. */
  readonly token: string | null;
  /** What a control plane proves before it is asked where that is; null: nothing, it is asked in plain HTTP. */
  readonly trust: ControlPlaneTrust | null;
}

/**
 * Asks a control plane's API (`http://HOST:PORT`) for its push port and connects to it, with the token if there is one. Rejects when
 * either takes longer than `limits.connectTimeoutMs`, when the control plane is not believed or answers nonsense, when the token is missing or refused, or when
 * `signal` aborts.
 */
export async function openPushLink(
  url: string,
  { token, trust }: PushCredentials,
  clock: Clock,
  signal: AbortSignal,
  events: PushLinkEvents,
): Promise<PushLink> {
  const within = <T>(step: (deadline: AbortSignal) => Promise<T>) =>
    withDeadline(clock, signal, limits.connectTimeoutMs, step);
  const { pushUrl } = await within((deadline) => askForBootstrap(url, trust, clock.nowMs(), deadline));
  return await within(async (deadline) => {
    const secured = pushUrl.startsWith('wss:') ? await secure(pushUrl, trust, clock, deadline) : null;
    return await connect(pushUrl, secured, token, clock, deadline, events);
  });
}

/** A connection to somebody who has proved to be a control plane; the token is not sent before. */
async function secure(
  pushUrl: string,
  trust: ControlPlaneTrust | null,
  clock: Clock,
  signal: AbortSignal,
): Promise<TLSSocket> {
  const { hostname, port } = new URL(pushUrl);
  const address = { host: hostname.replace(/^\[(.*)\]$/, '$1'), port: Number(port || 443) };
  try {
    if (trust === null)
      throw new Error(
        'it speaks TLS, and this sidecar knows no root to believe: name a join token with --join-token-file or WEFT_JOIN_TOKEN (weft token create --join makes one)',
      );
    return await connectToControlPlane(address, trust, clock.nowMs(), signal);
  } catch (cause) {
    throw new Error(`the push port ${pushUrl} cannot be reached: ${reasonOf(cause)}`, { cause });
  }
}

function connect(
  pushUrl: string,
  secured: TLSSocket | null,
  token: string | null,
  clock: Clock,
  signal: AbortSignal,
  events: PushLinkEvents,
): Promise<PushLink> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(pushUrl, {
      handshakeTimeout: limits.connectTimeoutMs,
      maxPayload: limits.pushFrameBytesMax,
      perMessageDeflate: false,
      ...(secured === null ? {} : { createConnection: () => secured }),
      ...(token === null ? {} : { headers: { Authorization: `Bearer ${token}` } }),
    });
    let localAddress = '';
    let lastError = '';
    const fail = (reason: string) => reject(new Error(`the push port ${pushUrl} cannot be reached: ${reason}`));
    const abort = () => {
      fail(reasonOf(signal.reason));
      socket.terminate();
    };
    signal.addEventListener('abort', abort, { once: true });
    socket.once('upgrade', (response) => {
      localAddress = response.socket.localAddress ?? '';
    });
    socket.once('unexpected-response', (_request, response) => {
      lastError = refusalOf(response.statusCode ?? 0, token !== null);
      socket.terminate();
    });
    // Always followed by `close`.
    socket.on('error', (error) => {
      lastError ||= error.message;
    });
    socket.once('close', () => {
      signal.removeEventListener('abort', abort);
      fail(lastError === '' ? 'it closed the connection' : lastError);
    });
    socket.once('open', () => {
      signal.removeEventListener('abort', abort);
      resolve(linkOver(socket, localAddress, clock, events));
    });
  });
}

function refusalOf(status: number, hasToken: boolean): string {
  if (status !== 401) return `it answers ${status}`;
  return hasToken
    ? 'it refuses the token that came with the certificate of this sidecar (401); a new certificate brings a new one'
    : 'it takes only sidecars with a certificate (401): name a join token with --join-token-file or WEFT_JOIN_TOKEN (weft token create --join makes one)';
}

function linkOver(socket: WebSocket, localAddress: string, clock: Clock, events: PushLinkEvents): PushLink {
  const silence = new Silence();
  let lastError = '';
  let cancelLook = clock.after(silenceLookMs, look);
  // A loop that was busy for a minute has looked only once meanwhile, so it is not taken for a control plane that is gone.
  function look(): void {
    const found = silence.look();
    if (found === 'gone') {
      lastError = 'nothing was heard of it any more';
      socket.terminate();
      return;
    }
    if (found === 'ask') socket.ping();
    cancelLook = clock.after(silenceLookMs, look);
  }
  const heard = () => silence.heard();
  socket.on('ping', heard);
  socket.on('pong', heard);
  socket.on('message', (bytes: Buffer) => {
    heard();
    events.onFrame(bytes);
  });
  socket.on('error', (error) => {
    lastError = error.message;
  });
  socket.once('close', (code: number, reason: Buffer) => {
    cancelLook();
    events.onClosed(lastError || `it closed the connection (${code}${reason.length > 0 ? ` ${reason}` : ''})`);
  });
  return {
    localAddress,
    get bufferedBytes() {
      return socket.bufferedAmount;
    },
    send: (frame) => {
      // A socket that is closing throws the frame away, which is what happens to one that was sent a moment before, too.
      if (socket.readyState === WebSocket.OPEN) socket.send(frame);
    },
    close: () => socket.terminate(),
  };
}

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
