/** `GET /v1/bootstrap`: where the push port of a control plane is, and which roots it believes. */
import { askApi, fieldsOf } from './api-request.ts';
import type { ControlPlaneTrust } from './control-plane-contact.ts';

export interface BootstrapAnswer {
  /** `ws://HOST:PORT/v1/push`, or wss. */
  readonly pushUrl: string;
  /** PEM of all roots, not checked; empty: it said none. Worth something only when it came over TLS. */
  readonly bundlePem: string;
}

export type AskForBootstrap = (
  url: string,
  trust: ControlPlaneTrust | null,
  nowMs: number,
  signal: AbortSignal,
) => Promise<BootstrapAnswer>;

/**
 * Over TLS with a control plane that has proved to be one, or with `trust` null in plain HTTP, to anybody. Rejects when it cannot be
 * reached, is not believed, or does not answer with a push address; and when the signal aborts.
 */
export const askForBootstrap: AskForBootstrap = async (url, trust, nowMs, signal) => {
  const where = `${url}/v1/bootstrap`;
  const asked = { url, method: 'GET', path: '/v1/bootstrap', body: '', token: null, trust } as const;
  const { status, text } = await askApi(asked, nowMs, signal).catch((cause: unknown) => {
    throw new Error(`${where} cannot be reached${trust === null ? '' : ' over TLS'}: ${reasonOf(cause)}`, { cause });
  });
  if (status === 426)
    throw new Error(
      `${where} speaks TLS only to other machines: this sidecar needs a join token, which names the root to believe (--join-token-file or WEFT_JOIN_TOKEN)`,
    );
  if (status !== 200) throw new Error(`${where} answers ${status}`);
  const { push, bundle } = fieldsOf(text);
  const pushUrl = pushUrlOf(push);
  if (pushUrl === null) throw new Error(`${where} does not answer with a push address`);
  return { pushUrl, bundlePem: typeof bundle === 'string' ? bundle : '' };
};

/** `push` is `HOST:PORT`, or the whole URL. */
function pushUrlOf(push: unknown): string | null {
  if (typeof push !== 'string') return null;
  const text = /^wss?:\/\//.test(push) ? push : `ws://${push}/v1/push`;
  return URL.canParse(text) && /^wss?:\/\/[^\s/?#@]+:\d{1,5}\/v1\/push$/.test(text) ? text : null;
}

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
