/** One request to a control plane's API and its whole answer, in plain HTTP or over TLS with somebody who is believed. */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { type IncomingMessage, request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { checkServerIdentity, type PeerCertificate, type TLSSocket } from 'node:tls';
import { connectToControlPlane, isControlPlaneId, OtherRootError } from '../sidecar/identity/control-plane-contact.ts';
import { spiffeIdIn } from '../sidecar/identity/credentials-check.ts';
import { usageError } from './terminal.ts';

/** Whom a client believes over TLS. */
export type ServerTrust =
  /** The CAs of this machine; the certificate must carry the host of --server. */
  | { readonly tag: 'system' }
  /** These CAs (PEM). A certificate with the SPIFFE ID of a control plane is as good as one with the host. */
  | { readonly tag: 'ca'; readonly pem: string }
  /** A root of a mesh, by the lower-case hex SHA-256 of its DER. */
  | { readonly tag: 'pin'; readonly rootSha256: string };

interface Question {
  readonly method: string;
  /** Absolute. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Null: none. */
  readonly body: string | null;
}

export interface ApiQuestion extends Question {
  readonly timeoutMs: number;
}

export interface ApiAnswer {
  readonly status: number;
  readonly text: string;
}

/** An answer that goes on for as long as its reader likes. */
export interface ApiStream {
  readonly status: number;
  readonly body: AsyncIterable<Uint8Array>;
  readText(): Promise<string>;
}

/** There is no whole answer. `reason` is short: a code of the system or of TLS, or a sentence. */
export class NoAnswerError extends Error {
  override readonly name = 'NoAnswerError';

  constructor(
    readonly reason: string,
    /** It may come later: the time was up. */
    readonly isTimeout: boolean,
    cause: unknown,
  ) {
    super(reason, { cause });
  }
}

const caFileBytesMax = 1024 * 1024;
const pinPattern = /^sha256:([0-9a-f]{64})$/i;

/** `text` is --ca or WEFT_CA: a file of PEM, or `sha256:` and 64 hex digits. @throws CliError (exit code 2) */
export function serverTrustOf(text: string | undefined): ServerTrust {
  if (text === undefined || text === '') return { tag: 'system' };
  const pin = pinPattern.exec(text)?.[1];
  if (pin !== undefined) return { tag: 'pin', rootSha256: pin.toLowerCase() };
  if (text.startsWith('sha256:'))
    throw usageError('--ca sha256: takes the 64 hex digits of a root (weft ca status shows them).');
  const pem = readCa(text);
  if (!pem.includes('-----BEGIN CERTIFICATE-----'))
    throw usageError(`--ca ${text} holds no certificate in PEM: root.crt of the control plane's --ca-dir is one.`);
  return { tag: 'ca', pem };
}

function readCa(path: string): string {
  try {
    const bytes = readFileSync(path);
    if (bytes.byteLength > caFileBytesMax) throw new Error(`it is longer than ${caFileBytesMax} bytes`);
    return bytes.toString();
  } catch (cause) {
    throw usageError(`--ca ${path} cannot be read: ${(cause as Error).message}.`);
  }
}

/** Rejects with NoAnswerError. Nothing is sent to who is not believed. */
export async function askServer(question: ApiQuestion, trust: ServerTrust): Promise<ApiAnswer> {
  const signal = AbortSignal.timeout(question.timeoutMs);
  const { status, readText } = await openServerStream(question, trust, signal);
  try {
    return { status, text: await readText() };
  } catch (cause) {
    throw new NoAnswerError(reasonOf(cause), signal.aborted, cause);
  }
}

/** The same, of which the body is read as it comes; `signal` ends it. Rejects with NoAnswerError. */
export async function openServerStream(
  question: Question,
  trust: ServerTrust,
  signal: AbortSignal,
): Promise<ApiStream> {
  try {
    const socket = await pinnedSocket(question.url, trust, signal);
    const response = await exchange(question, trust, socket, signal);
    return { status: response.statusCode ?? 0, body: response, readText: () => readAll(response) };
  } catch (cause) {
    throw new NoAnswerError(reasonOf(cause), signal.aborted, cause);
  }
}

/** Null: it is not pinned, and the request makes its own connection. */
async function pinnedSocket(url: string, trust: ServerTrust, signal: AbortSignal): Promise<TLSSocket | null> {
  const { hostname, port, protocol } = new URL(url);
  if (protocol !== 'https:' || trust.tag !== 'pin') return null;
  const address = { host: hostname.replace(/^\[(.*)\]$/, '$1'), port: Number(port || 443) };
  const believed = { trustDomain: null, rootsSha256: [trust.rootSha256], bundlePem: null };
  return await connectToControlPlane(address, believed, Date.now(), signal);
}

function exchange(
  { url, method, headers, body }: Question,
  trust: ServerTrust,
  socket: TLSSocket | null,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const isHttps = url.startsWith('https:');
    const length = body === null ? {} : { 'content-length': String(Buffer.byteLength(body)) };
    const sent = (isHttps ? requestHttps : requestHttp)(url, {
      method,
      signal,
      headers: { ...headers, ...length, connection: 'close' },
      ...(socket === null ? { agent: false } : { createConnection: () => socket }),
      ...(isHttps && trust.tag === 'ca' ? { ca: trust.pem, checkServerIdentity: hostOrControlPlane } : {}),
    });
    sent.once('error', (error) => reject(signal.aborted ? signal.reason : error));
    sent.once('response', resolve);
    sent.end(body ?? undefined);
  });
}

/** A mesh's own root names no hosts: what it certifies a control plane for is to be one, and a sidecar's certificate says something else. */
function hostOrControlPlane(host: string, certificate: PeerCertificate): Error | undefined {
  const id = spiffeIdIn(new X509Certificate(certificate.raw));
  return isControlPlaneId(id) ? undefined : checkServerIdentity(host, certificate);
}

async function readAll(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

function reasonOf(error: unknown): string {
  if (error instanceof OtherRootError) return 'its certificate was not issued by the root that --ca names';
  if (!(error instanceof Error)) return String(error);
  return 'code' in error && typeof error.code === 'string' ? error.code : error.message;
}
