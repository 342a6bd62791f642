/** One request to the API of one control plane, and its whole answer, on a connection that is for it alone. */
import { type IncomingMessage, request } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { type ControlPlaneTrust, connectToControlPlane } from './control-plane-contact.ts';

export interface ApiRequest {
  /** Base address of the API, `http://HOST:PORT` or https; with trust it is TLS whatever this says. */
  readonly url: string;
  readonly method: 'GET' | 'POST';
  readonly path: string;
  /** JSON; empty: none. */
  readonly body: string;
  /** Null: without. */
  readonly token: string | null;
  /** Null: plain HTTP, to anybody. */
  readonly trust: ControlPlaneTrust | null;
}

export interface ApiAnswer {
  readonly status: number;
  readonly text: string;
}

const answerBytesMax = 512 * 1024;

/** Rejects when there is no whole answer, with the signal's reason when it aborts, and before anything is sent to who is not believed. */
export async function askApi(asked: ApiRequest, nowMs: number, signal: AbortSignal): Promise<ApiAnswer> {
  const { hostname, port, protocol } = new URL(asked.url);
  const isHttps = protocol === 'https:';
  if (isHttps && asked.trust === null)
    throw new Error('https:// needs a root to believe, which a join token names (--join-token-file)');
  const address = { host: hostname.replace(/^\[(.*)\]$/, '$1'), port: Number(port || (isHttps ? 443 : 80)) };
  const socket = asked.trust === null ? null : await connectToControlPlane(address, asked.trust, nowMs, signal);
  try {
    return await exchange(asked, address, socket, signal);
  } finally {
    socket?.destroy();
  }
}

function exchange(
  { url, method, path, body, token }: ApiRequest,
  address: { readonly host: string; readonly port: number },
  socket: TLSSocket | null,
  signal: AbortSignal,
): Promise<ApiAnswer> {
  return new Promise((resolve, reject) => {
    const sent = request({
      ...address,
      method,
      path,
      // An agent, even one of its own, would make a connection itself.
      ...(socket === null ? { agent: false } : { createConnection: () => socket }),
      signal,
      headers: {
        Host: new URL(url).host,
        ...(body === '' ? {} : { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) }),
        Connection: 'close',
        ...(token === null ? {} : { Authorization: `Bearer ${token}` }),
      },
    });
    sent.once('error', (error) => reject(signal.aborted ? signal.reason : error));
    sent.once('response', (response) => {
      readBounded(response).then((text) => resolve({ status: response.statusCode ?? 0, text }), reject);
    });
    sent.end(body);
  });
}

async function readBounded(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.byteLength;
    if (bytes > answerBytesMax) throw new Error('it answers with too much');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

/** The fields of a JSON object; none when the text is none. */
export function fieldsOf(text: string): Readonly<Record<string, unknown>> {
  try {
    const answer: unknown = JSON.parse(text);
    return typeof answer === 'object' && answer !== null ? { ...answer } : {};
  } catch {
    return {};
  }
}
