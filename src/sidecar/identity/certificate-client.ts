/** `POST /v1/certificates`: one question to one control plane, and its answer or its refusal. */
import { type IncomingMessage, request } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { limits } from '../../model/limits.ts';
import { type ControlPlaneTrust, connectToControlPlane } from './control-plane-contact.ts';

export interface CertificateQuestion {
  /** Base address of the API, `http://HOST:PORT`. */
  readonly url: string;
  readonly csrPem: string;
  readonly service: string;
  readonly namespace: string;
  /** A join or a push token; null: without. */
  readonly token: string | null;
  /** Null: plain HTTP, to anybody. */
  readonly trust: ControlPlaneTrust | null;
}

/** What was answered; not checked but for its form. */
export interface CertificateAnswer {
  readonly certificatePem: string;
  /** PEM of all roots. */
  readonly bundlePem: string;
  /** For the push channel, and to renew with. */
  readonly pushToken: string;
}

/** The control plane said no. */
export class CertificateRefusedError extends Error {
  override readonly name = 'CertificateRefusedError';

  /** `code` is the problem's: `token-required`, `not-signing` and so on, or empty. */
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

export type AskForCertificate = (
  question: CertificateQuestion,
  nowMs: number,
  signal: AbortSignal,
) => Promise<CertificateAnswer>;

const answerBytesMax = 512 * 1024;

/** Rejects with CertificateRefusedError, or with an Error that says why there is no answer. */
export const askForCertificate: AskForCertificate = async (question, nowMs, signal) => {
  const { url, csrPem, service, namespace, trust } = question;
  const { hostname, port } = new URL(url);
  const address = { host: hostname.replace(/^\[(.*)\]$/, '$1'), port: Number(port || 80) };
  const socket = trust === null ? null : await connectToControlPlane(address, trust, nowMs, signal);
  try {
    const body = JSON.stringify({ csr: csrPem, service, namespace });
    const { status, text } = await post(question, address, socket, body, signal);
    if (status !== 200) throw refusalIn(status, text);
    return answerIn(text);
  } finally {
    socket?.destroy();
  }
};

function post(
  { url, token }: CertificateQuestion,
  address: { readonly host: string; readonly port: number },
  socket: TLSSocket | null,
  body: string,
  signal: AbortSignal,
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const posted = request({
      ...address,
      method: 'POST',
      path: '/v1/certificates',
      // An agent, even one of its own, would make a connection itself.
      ...(socket === null ? { agent: false } : { createConnection: () => socket }),
      signal,
      headers: {
        Host: new URL(url).host,
        'Content-Type': 'application/json',
        'Content-Length': Buffer.byteLength(body),
        Connection: 'close',
        ...(token === null ? {} : { Authorization: `Bearer ${token}` }),
      },
    });
    posted.once('error', (error) => reject(signal.aborted ? signal.reason : error));
    posted.once('response', (response) => {
      readBounded(response).then((text) => resolve({ status: response.statusCode ?? 0, text }), reject);
    });
    posted.end(body);
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

function refusalIn(status: number, text: string): CertificateRefusedError {
  const { code, detail } = fieldsOf(text);
  const codeText = typeof code === 'string' ? code.slice(0, 64) : '';
  const reason = typeof detail === 'string' ? detail.slice(0, limits.nackReasonCharsMax) : '';
  return new CertificateRefusedError(status, codeText, reason || `it answers ${status}`);
}

function answerIn(text: string): CertificateAnswer {
  const { certificate, bundle, token } = fieldsOf(text);
  if (typeof certificate !== 'string' || typeof bundle !== 'string')
    throw new Error('it answers with something else than a certificate and a trust bundle');
  if (typeof token !== 'string' || token.length > limits.tokenCharsMax || !/^[\x21-\x7e]+$/.test(token))
    throw new Error('it answers without a token for the push channel');
  return { certificatePem: certificate, bundlePem: bundle, pushToken: token };
}

function fieldsOf(text: string): Readonly<Record<string, unknown>> {
  try {
    const answer: unknown = JSON.parse(text);
    return typeof answer === 'object' && answer !== null ? { ...answer } : {};
  } catch {
    return {};
  }
}
