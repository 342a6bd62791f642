/** `POST /v1/certificates`: one question to one control plane, and its answer or its refusal. */
import { limits } from '../../model/limits.ts';
import { askApi, fieldsOf } from './api-request.ts';
import type { ControlPlaneTrust } from './control-plane-contact.ts';

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

/** Rejects with CertificateRefusedError, or with an Error that says why there is no answer. */
export const askForCertificate: AskForCertificate = async (question, nowMs, signal) => {
  const { url, csrPem, service, namespace, token, trust } = question;
  const body = JSON.stringify({ csr: csrPem, service, namespace });
  const asked = { url, method: 'POST', path: '/v1/certificates', body, token, trust } as const;
  const { status, text } = await askApi(asked, nowMs, signal);
  if (status !== 200) throw refusalIn(status, text);
  return answerIn(text);
};

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
