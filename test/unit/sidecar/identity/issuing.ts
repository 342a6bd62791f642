/** A control plane that issues certificates as a test wants it, without a network: answers, refuses, hangs; and a clock that remembers. */
import { makeCertificateRequest } from '../../../../src/identity/certificate-request.ts';
import type { SigningRoot } from '../../../../src/identity/root.ts';
import { issueSvid } from '../../../../src/identity/svid.ts';
import { bundlePem, type ServiceIdentity, type TrustBundle } from '../../../../src/model/identity.ts';
import type {
  AskForCertificate,
  CertificateAnswer,
  CertificateQuestion,
} from '../../../../src/sidecar/identity/certificate-client.ts';
import { IssuedIdentity, type IssuedIdentityOptions } from '../../../../src/sidecar/identity/issued-identity.ts';
import { ManualClock, silentLogger } from '../../control/memory-store.ts';
import { bundleOf, identityOf } from '../../identity/roots.ts';

export class RememberingClock extends ManualClock {
  /** All waits that were begun, ms. */
  readonly waits: number[] = [];

  override after(ms: number, run: () => void): () => void {
    this.waits.push(ms);
    return super.after(ms, run);
  }
}

export interface Issued {
  readonly root: SigningRoot;
  readonly csrPem: string;
  readonly nowMs: number;
  readonly ttlMs?: number;
  readonly identity?: ServiceIdentity;
  readonly bundle?: TrustBundle;
  readonly pushToken?: string;
}

/** Real keys and signatures take real time, in which a test's clock must stand still. */
let working = 0;

async function work<T>(step: () => Promise<T>): Promise<T> {
  working++;
  try {
    return await step();
  } finally {
    working--;
  }
}

/** A step of `until`: lets time pass while nobody works. */
export const passing = (clock: ManualClock, ms: number) => () => {
  if (working === 0) clock.advance(ms);
};

export async function issue({
  root,
  csrPem,
  nowMs,
  ttlMs = 3600_000,
  identity = identityOf('cart'),
  bundle = bundleOf(root),
  pushToken = 'push-token',
}: Issued): Promise<CertificateAnswer> {
  const { certificatePem } = await work(() => issueSvid(root, { csrPem, identity, nowMs, ttlMs }));
  return { certificatePem, bundlePem: bundlePem(bundle), pushToken };
}

/** What the next questions are answered; a function that rejects is a control plane that refuses. */
export type Answer = (question: CertificateQuestion, nowMs: number) => Promise<CertificateAnswer>;

export function agentWith(answer: Answer, options: Partial<IssuedIdentityOptions> = {}) {
  const clock = new RememberingClock();
  const plane = { answer, questions: [] as CertificateQuestion[], signals: [] as AbortSignal[] };
  const ask: AskForCertificate = (question, nowMs, signal) => {
    plane.questions.push(question);
    plane.signals.push(signal);
    return plane.answer(question, nowMs);
  };
  const agent = new IssuedIdentity({
    urls: ['http://one', 'http://two'],
    service: 'cart',
    namespace: 'default',
    joinToken: null,
    file: null,
    clock,
    random: () => 0.5,
    logger: silentLogger,
    makeRequest: () => work(makeCertificateRequest),
    ask,
    askForBootstrap: () => Promise.reject(new Error('this test has no bootstrap')),
    ...options,
  });
  return { agent, clock: (options.clock as RememberingClock | undefined) ?? clock, plane };
}

export const hang = () => new Promise<never>(() => {});
