/**
 * The proof of a pushed trust bundle. The push channel is plain, so whoever stands in it could push a root of his own: what comes there
 * is a hint, and a control plane that has proved over TLS to be one says what is true.
 */
import type { TrustBundle } from '../../model/identity.ts';
import { bundlePem } from '../../model/identity.ts';
import { Backoff } from '../backoff.ts';
import type { Clock } from '../clock.ts';
import { withDeadline } from '../deadline.ts';
import type { AskForBootstrap } from './bootstrap-client.ts';
import type { ControlPlaneTrust } from './control-plane-contact.ts';
import { joinBundles, rootsMissingIn } from './credentials-check.ts';

export interface BundleProofOptions {
  /** Base addresses of control planes, asked in turn. At least one. */
  readonly urls: readonly string[];
  readonly clock: Clock;
  /** 0 to 1. */
  readonly random: () => number;
  readonly ask: AskForBootstrap;
}

/** No control plane has vouched for what was pushed; `message` says what it knows, or why it was not reached. */
export class UnprovenBundleError extends Error {
  override readonly name = 'UnprovenBundleError';
  readonly code = 'unproven-bundle';
}

/** A replica may be behind the one that pushed, or not be there: they are asked again and again for this long, within `limits.applyMs`. */
export const proofMs = 10_000;
const askMs = 4_000;

/**
 * Resolves with the PEM of the roots to believe: those pushed, and those that were not, but which the mesh still believes. `trust` is asked for at each
 * try. Rejects with UnprovenBundleError after `proofMs`, or with the signal's reason.
 */
export async function provenBundle(
  bundle: TrustBundle,
  trust: () => Promise<ControlPlaneTrust>,
  { urls, clock, random, ask }: BundleProofOptions,
  signal: AbortSignal,
): Promise<string> {
  const pushed = bundlePem(bundle);
  const backoff = new Backoff(random);
  let reason = 'nobody was asked yet';
  const askAll = async (deadline: AbortSignal): Promise<string> => {
    for (let attempt = 0; ; attempt++) {
      const url = urls[attempt % urls.length]!;
      try {
        const believed = await trust();
        const answer = await withDeadline(clock, deadline, askMs, (end) => ask(url, believed, clock.nowMs(), end));
        const unknown = rootsMissingIn(answer.bundlePem, pushed);
        if (unknown.length === 0) return joinBundles(pushed, answer.bundlePem);
        reason = `${url} does not know ${unknown.join(', ')}`;
      } catch (error) {
        deadline.throwIfAborted();
        reason = error instanceof Error ? error.message : String(error);
      }
      await pause(clock, backoff.nextMs(), deadline);
    }
  };
  try {
    return await withDeadline(clock, signal, proofMs, askAll);
  } catch (cause) {
    signal.throwIfAborted();
    throw new UnprovenBundleError(
      `the trust bundle has roots for which no control plane vouched over TLS within ${proofMs} ms: ${reason}`,
      { cause },
    );
  }
}

function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = () => {
      cancel();
      reject(signal.reason);
    };
    const cancel = clock.after(ms, () => {
      signal.removeEventListener('abort', abort);
      resolve();
    });
    signal.addEventListener('abort', abort, { once: true });
  });
}
