/** The command line's way to the control plane: its REST API, every call with a deadline, every failure one clear sentence. */

import { randomUUID } from 'node:crypto';
import { userInfo } from 'node:os';
import { type Command, Option } from 'commander';
import type { AppliedReport, ReplicaStatus, SidecarName, SidecarStatus } from '../control/fleet.ts';
import { formatProblem, type Problem } from '../model/problem.ts';
import type { WindowStats } from '../model/report.ts';
import { type Kind, kinds, type Resource } from '../model/resources.ts';
import { parseServerUrl } from './flag-values.ts';
import { CliError, usageError } from './terminal.ts';

/** How long one call may take beyond what it was asked to wait for. */
const callTimeoutMs = 10_000;

export interface ObjectName {
  readonly kind: Kind;
  readonly namespace: string;
  readonly name: string;
}

export interface ResourceList {
  readonly items: readonly Resource[];
  readonly revision: number;
}

export interface Transaction {
  readonly apply: readonly Resource[];
  readonly delete: readonly ObjectName[];
  readonly message: string;
}

export interface TransactionOptions {
  /** Wait until every sidecar concerned has it in force, at most so long; 0 does not wait. */
  readonly waitAppliedMs: number;
  readonly isDryRun: boolean;
}

export interface TransactionResult {
  readonly revision: number;
  readonly results: readonly (ObjectName & { readonly action: string })[];
  readonly applied?: AppliedReport;
}

/** What a control plane says of itself. */
export interface ControlPlaneStatus {
  readonly revision: number;
  readonly version: string;
  readonly store: string;
  /** RFC 3339. */
  readonly startedAt: string;
  /** All that serve from its store; absent: it is an older control plane. */
  readonly controlPlanes?: readonly ReplicaStatus[];
  /** Made by a registration, untouched since; absent: it is an older control plane. */
  readonly foundedServices?: readonly FoundedServiceStatus[];
}

export interface FoundedServiceStatus {
  readonly name: string;
  readonly namespace: string;
  /** RFC 3339. */
  readonly at: string;
  /** An older Service whose name may have been meant; absent: an older control plane. */
  readonly similar?: string | null;
  /** Registered under it now. */
  readonly sidecars: number;
}

/** What a control plane says of its certificate authority. Times are RFC 3339. */
export interface AuthorityStatus {
  readonly trustDomain: string;
  readonly certificateTtlSeconds: number;
  readonly requiresJoinToken: boolean;
  /** SHA-256 of the root that certificates are signed with; null: none now. */
  readonly signing: string | null;
  readonly roots: readonly {
    readonly sha256: string;
    readonly subject: string;
    readonly notBefore: string;
    readonly notAfter: string;
    readonly addedAt: string;
    readonly retiresAt: string | null;
    readonly isSigning: boolean;
  }[];
  readonly waitingFor: readonly SidecarName[];
}

export interface JoinToken {
  /** Secret. */
  readonly token: string;
  /** RFC 3339. */
  readonly expiresAt: string;
  readonly spiffeId: string;
}

/** RFC 9457, with Weft's own members. */
export interface Refusal {
  readonly status: number;
  readonly title: string;
  readonly detail?: string;
  readonly code?: string;
  readonly problems?: readonly Problem[];
  readonly revision?: number;
  readonly results?: TransactionResult['results'];
  readonly missing?: AppliedReport['missing'];
  readonly refused?: AppliedReport['refused'];
}

/** The control plane answered, and said no. */
export class RefusedError extends CliError {
  readonly refusal: Refusal;

  constructor(refusal: Refusal) {
    const problems = (refusal.problems ?? []).map((problem) => formatProblem(problem));
    super([refusal.detail ?? refusal.title, ...problems].join('\n'));
    this.refusal = refusal;
  }
}

export interface ClientFlags {
  readonly server: string;
  readonly token?: string;
}

/** Adds `--server` and `--token`, which every client command takes. */
export function addClientFlags(command: Command): Command {
  return command
    .addOption(
      new Option('--server <url>', 'API of the control plane')
        .argParser(parseServerUrl)
        .env('WEFT_SERVER')
        .default('http://127.0.0.1:7070'),
    )
    .addOption(new Option('--token <token>', 'sent as a bearer token').env('WEFT_TOKEN'));
}

export class ControlPlaneClient {
  readonly #server: string;
  readonly #token: string | undefined;

  /** @throws CliError when the token cannot be one. */
  constructor({ server, token }: ClientFlags) {
    // Checked here and not as a flag: commander would repeat the value in its message. An empty variable is as good as none.
    if (token !== undefined && !/^[\x21-\x7e]{0,4096}$/.test(token))
      throw usageError(
        'The token (--token or WEFT_TOKEN) is not usable: expected at most 4096 visible ASCII characters.',
      );
    this.#server = server;
    this.#token = token === '' ? undefined : token;
  }

  get server(): string {
    return this.#server;
  }

  /** Without a namespace: of all namespaces. */
  list(kind: Kind, namespace?: string): Promise<ResourceList> {
    const query = namespace === undefined ? '' : `?${new URLSearchParams({ namespace })}`;
    return this.#call<ResourceList>('GET', `/v1/${kinds[kind].collection}${query}`);
  }

  /** @throws RefusedError with status 404 when it does not exist. */
  get({ kind, namespace, name }: ObjectName): Promise<Resource> {
    return this.#call<Resource>('GET', `/v1/${kinds[kind].collection}/${namespace}/${name}`);
  }

  /** Several objects, one revision or none. The id lets the control plane recognise a write that arrives twice. */
  transact(transaction: Transaction, { waitAppliedMs, isDryRun }: TransactionOptions): Promise<TransactionResult> {
    const query = new URLSearchParams();
    if (waitAppliedMs > 0) {
      query.set('wait', 'applied');
      query.set('timeoutMs', String(waitAppliedMs));
    }
    if (isDryRun) query.set('dryRun', '1');
    return this.#call<TransactionResult>('POST', `/v1/transactions?${query}`, waitAppliedMs, transaction);
  }

  async sidecars(): Promise<readonly SidecarStatus[]> {
    return (await this.#call<{ readonly items: readonly SidecarStatus[] }>('GET', '/v1/sidecars')).items;
  }

  stats(): Promise<WindowStats> {
    return this.#call<WindowStats>('GET', '/v1/stats');
  }

  status(): Promise<ControlPlaneStatus> {
    return this.#call<ControlPlaneStatus>('GET', '/v1/status');
  }

  createJoinToken(service: string, namespace: string, ttlSeconds: number): Promise<JoinToken> {
    return this.#call<JoinToken>('POST', '/v1/join-tokens', 0, { service, namespace, ttlSeconds });
  }

  authority(): Promise<AuthorityStatus> {
    return this.#call<AuthorityStatus>('GET', '/v1/ca');
  }

  /** Goes on with a rotation that was begun. @throws RefusedError `not-applied` when sidecars did not answer in time. */
  rotateAuthority(timeoutMs: number): Promise<AuthorityStatus> {
    return this.#call<AuthorityStatus>('POST', `/v1/ca/rotate?timeoutMs=${timeoutMs}`, timeoutMs);
  }

  async #call<Answer>(method: 'GET' | 'POST', path: string, extraMs = 0, body?: object): Promise<Answer> {
    const timeoutMs = callTimeoutMs + extraMs;
    let status: number;
    let text: string;
    try {
      const response = await fetch(`${this.#server}${path}`, {
        method,
        signal: AbortSignal.timeout(timeoutMs),
        headers: {
          accept: 'application/json',
          ...(body === undefined
            ? {}
            : { 'content-type': 'application/json', 'idempotency-key': randomUUID(), 'weft-actor': actor() }),
          ...(this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      status = response.status;
      text = await response.text();
    } catch (cause) {
      throw this.#unreachable(cause, timeoutMs, method);
    }
    const answer = parseJson(text);
    if (status >= 200 && status < 300 && answer !== null) return answer as Answer;
    // Weft's problems name their status; anything else comes from a server that is not a control plane.
    if (answer !== null && 'status' in answer && 'title' in answer) throw new RefusedError(answer as Refusal);
    throw new CliError(
      `${this.#server} answered ${status} to ${method} ${path}, but not as a Weft control plane does: is --server right?`,
    );
  }

  #unreachable(cause: unknown, timeoutMs: number, method: string): CliError {
    const isTimeout = cause instanceof Error && cause.name === 'TimeoutError';
    if (isTimeout) {
      const outcome = method === 'GET' ? '' : ' Whether the change was made is not known: look with `weft get`.';
      return new CliError(
        `The control plane at ${this.#server} did not answer within ${timeoutMs / 1000} s.${outcome}`,
        undefined,
        { cause },
      );
    }
    const reason = cause instanceof Error && cause.cause instanceof Error ? codeOf(cause.cause) : String(cause);
    return new CliError(
      `No control plane answers at ${this.#server} (${reason}): start one with \`weft control-plane\`, or name another with --server.`,
      undefined,
      { cause },
    );
  }
}

const codeOf = (error: Error): string =>
  'code' in error && typeof error.code === 'string' ? error.code : error.message;

function parseJson(text: string): object | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' ? value : null;
  } catch {
    return null;
  }
}

/** Whom a revision is written down for. */
function actor(): string {
  try {
    return encodeURIComponent(userInfo().username);
  } catch {
    // A container may run under a number that no account has.
    return String(process.getuid?.() ?? 'unknown');
  }
}
