/** The command line's way to the control plane: its REST API, every call with a deadline, every failure one clear sentence. */

import { randomUUID } from 'node:crypto';
import { userInfo } from 'node:os';
import { type Command, Option } from 'commander';
import type { Static } from 'typebox';
import type { AppliedReport, GoneSidecar, ReplicaStatus, SidecarName, SidecarStatus } from '../control/fleet.ts';
import type { RoleName } from '../model/access.ts';
import { formatProblem, type Problem } from '../model/problem.ts';
import type { LatencyQuestion, MeshLatency, MeshStats, StatsQuestion } from '../model/report.ts';
import { type Kind, kinds, type Resource } from '../model/resources.ts';
import { askServer, NoAnswerError, openServerStream, type ServerTrust, serverTrustOf } from './api-exchange.ts';
import { apiTokenOf, type TokenSources } from './api-token.ts';
import { readEvents, type StreamEvent, streamQuietMs } from './event-stream.ts';
import { isLoopback, parseServerUrl } from './flag-values.ts';
import { CliError, usageError } from './terminal.ts';

/** How long one call may take beyond what it was asked to wait for. */
const callTimeoutMs = 10_000;

export interface ObjectName {
  readonly kind: Kind;
  readonly namespace: string;
  readonly name: string;
}

// The types of answers are those of the schemas that /openapi.json is made of, and that its test holds the answers against.
type Answers = typeof import('../control/api/schemas.ts');

export interface ResourceList {
  readonly items: readonly Resource[];
  readonly revision: number;
}

export interface Transaction {
  readonly apply: readonly Resource[];
  /** With the revision that it must be at, as the API writes it. */
  readonly delete: readonly (ObjectName & { readonly resourceVersion?: string })[];
  readonly message: string;
}

export interface TransactionOptions {
  /** Wait until every sidecar concerned has it in force, at most so long; 0 does not wait. */
  readonly waitAppliedMs: number;
  /** Of those concerned, so many are enough; default 100. */
  readonly percent?: number;
  readonly isDryRun: boolean;
}

export type TransactionResult = Static<Answers['TransactionResult']>;
/** Each of its changes is what it was, too. Null: it did not exist; absent: it is no resource, or it is a list that says who and when only. */
export type RevisionEntry = Static<Answers['Revision']>;
export type ObjectChange = RevisionEntry['changes'][number];
export type RevisionList = Static<Answers['Revisions']>;
export type RevisionDiff = Static<Answers['Diff']>;

export interface RevisionsQuery {
  readonly limit: number;
  /** Only older ones. */
  readonly before?: number;
  readonly object?: ObjectName;
}

/** What a control plane says of itself. */
export interface ControlPlaneStatus {
  readonly revision: number;
  readonly version: string;
  readonly store: string;
  /** Writes are refused, `since` RFC 3339; absent: it is an older control plane. */
  readonly storeOutage?: { readonly since: string; readonly reason: string } | null;
  /** RFC 3339. */
  readonly startedAt: string;
  /** All that serve from its store; absent: it is an older control plane. */
  readonly controlPlanes?: readonly ReplicaStatus[];
  /** Made by a registration, untouched since; absent: it is an older control plane. */
  readonly foundedServices?: readonly FoundedServiceStatus[];
  /** Absent: an older control plane, to which nobody needs a token. */
  readonly access?: { readonly requiresToken: boolean; readonly isInsecure: boolean };
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
  /** Of its last sidecar that went silent; null: none lately; absent: an older control plane. */
  readonly lastHeardAgoMs?: number | null;
  /** Nobody was ever registered for longer than a moment; absent: an older control plane. */
  readonly isUnused?: boolean;
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

export interface ApiTokenWish {
  readonly role: RoleName;
  readonly namespaces?: readonly string[];
  readonly name?: string;
  /** Null: without end. */
  readonly ttlSeconds?: number | null;
}

/** What a control plane says of an API token. Times are RFC 3339. */
export interface ApiToken {
  readonly id: string;
  readonly name: string;
  readonly role: RoleName;
  readonly namespaces: readonly string[];
  readonly createdAt: string;
  readonly createdBy: string;
  readonly expiresAt: string | null;
  readonly lastUsedAt: string | null;
}

export interface MadeApiToken extends Omit<ApiToken, 'lastUsedAt'> {
  /** Secret. */
  readonly token: string;
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
  readonly gone?: AppliedReport['gone'];
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

/** Nobody listens there: it is not that a control plane was slow, or is not believed. */
export const isUnreachable = (error: unknown): boolean =>
  error instanceof CliError &&
  error.cause instanceof NoAnswerError &&
  /^(ECONNREFUSED|ENOTFOUND|EHOSTUNREACH)$/.test(error.cause.reason);

export interface ClientFlags extends TokenSources {
  readonly server: string;
  readonly ca?: string;
}

/** Adds `--server`, `--ca`, `--token` and `--token-file`, which every client command takes. */
export function addClientFlags(command: Command): Command {
  return command
    .addOption(
      new Option('--server <url>', 'API of the control plane')
        .argParser(parseServerUrl)
        .env('WEFT_SERVER')
        .default('http://127.0.0.1:7070'),
    )
    .addOption(
      new Option(
        '--ca <file>',
        "whom to believe over https://: a file of PEM such as root.crt of the control plane's --ca-dir, or sha256:HEX of a root (default: the CAs of this machine)",
      ).env('WEFT_CA'),
    )
    .option('--token <token>', 'API token; others on this machine see it in the list of processes (env: WEFT_TOKEN)')
    .option('--token-file <file>', 'a file that holds the API token');
}

export class ControlPlaneClient {
  readonly #server: string;
  readonly #token: string | undefined;
  readonly #trust: ServerTrust;

  /** @throws CliError (exit code 2) when the token cannot be one or would go in plain over a network, or when --ca cannot be used. */
  constructor({ server, ca, ...sources }: ClientFlags) {
    this.#server = server;
    this.#trust = serverTrustOf(ca);
    this.#token = apiTokenOf(sources, process.env);
    const { protocol, hostname } = new URL(server);
    if (this.#token !== undefined && protocol === 'http:' && !isLoopback(hostname.replace(/^\[(.*)\]$/, '$1')))
      throw usageError(
        `The token would go over the network in plain HTTP: use --server https://${new URL(server).host} with --ca FILE or --ca sha256:HEX.`,
      );
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
  transact(transaction: Transaction, options: TransactionOptions): Promise<TransactionResult> {
    return this.#write('/v1/transactions', transaction, options);
  }

  /** Brings the resources to what they were right after a revision. @throws RefusedError `revision-gone` when it is no longer kept. */
  rollBack(revision: number, message: string, options: TransactionOptions): Promise<TransactionResult> {
    return this.#write('/v1/rollback', { revision, message }, options);
  }

  /** Newest first. */
  revisions({ limit, before, object }: RevisionsQuery): Promise<RevisionList> {
    const query = new URLSearchParams({ limit: String(limit), ...object });
    if (before !== undefined) query.set('before', String(before));
    return this.#call<RevisionList>('GET', `/v1/revisions?${query}`);
  }

  /** @throws RefusedError `revision-gone`, or with status 404. */
  revision(revision: number): Promise<RevisionEntry> {
    return this.#call<RevisionEntry>('GET', `/v1/revisions/${revision}`);
  }

  /** Without `to`: up to now. @throws RefusedError `revision-gone`, or with status 404. */
  diff(from: number, to?: number): Promise<RevisionDiff> {
    return this.#call<RevisionDiff>('GET', `/v1/diff?from=${from}${to === undefined ? '' : `&to=${to}`}`);
  }

  /**
   * What happens to the resources of a kind after a revision, until the stream ends or falls silent.
   * @throws RefusedError `revision-gone`: list again.
   */
  async *watch(kind: Kind, namespace: string | undefined, from: number): AsyncGenerator<StreamEvent> {
    const query = new URLSearchParams({
      watch: '1',
      from: String(from),
      ...(namespace === undefined ? {} : { namespace }),
    });
    const path = `/v1/${kinds[kind].collection}?${query}`;
    const silence = new AbortController();
    let timer = setTimeout(() => silence.abort(), callTimeoutMs);
    const heard = () => {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), streamQuietMs);
    };
    try {
      const headers = { accept: 'text/event-stream', ...this.#credentials() };
      const question = { url: `${this.#server}${path}`, method: 'GET', headers, body: null };
      const { status, body, readText } = await openServerStream(question, this.#trust, silence.signal);
      if (status !== 200) throw this.#failure('GET', path, status, await readText());
      yield* readEvents(body, heard);
    } catch (cause) {
      if (cause instanceof CliError) throw cause;
      const error =
        cause instanceof NoAnswerError ? cause : new NoAnswerError(String(cause), silence.signal.aborted, cause);
      throw this.#unreachable(error, callTimeoutMs, 'GET');
    } finally {
      clearTimeout(timer);
      silence.abort();
    }
  }

  async sidecars(): Promise<readonly SidecarStatus[]> {
    return (await this.fleet()).items;
  }

  /** `gone`: those that went silent lately; absent: an older control plane. */
  fleet(): Promise<{ readonly items: readonly SidecarStatus[]; readonly gone?: readonly GoneSidecar[] }> {
    return this.#call('GET', '/v1/sidecars');
  }

  /** Of the whole window and all hops, unless the question says less. */
  stats({ service, seconds }: StatsQuestion = {}): Promise<MeshStats> {
    const query = new URLSearchParams();
    if (service !== undefined) query.set('service', service);
    if (seconds !== undefined) query.set('seconds', String(seconds));
    return this.#call<MeshStats>('GET', query.size === 0 ? '/v1/stats' : `/v1/stats?${query}`);
  }

  latency({ service, route, isByRoute, depth }: LatencyQuestion): Promise<MeshLatency> {
    const query = new URLSearchParams({
      service,
      depth: String(depth),
      ...(route === null ? {} : { route }),
      ...(isByRoute ? { byRoute: '1' } : {}),
    });
    return this.#call<MeshLatency>('GET', `/v1/latency?${query}`);
  }

  status(): Promise<ControlPlaneStatus> {
    return this.#call<ControlPlaneStatus>('GET', '/v1/status');
  }

  createJoinToken(service: string, namespace: string, ttlSeconds: number): Promise<JoinToken> {
    return this.#call<JoinToken>('POST', '/v1/join-tokens', 0, { service, namespace, ttlSeconds });
  }

  createToken(wish: ApiTokenWish): Promise<MadeApiToken> {
    return this.#call<MadeApiToken>('POST', '/v1/tokens', 0, wish);
  }

  async tokens(): Promise<readonly ApiToken[]> {
    return (await this.#call<{ readonly items: readonly ApiToken[] }>('GET', '/v1/tokens')).items;
  }

  /** @throws RefusedError with status 404 when there is none of this name or id. */
  revokeToken(nameOrId: string): Promise<{ readonly revoked: string }> {
    return this.#call<{ readonly revoked: string }>('DELETE', `/v1/tokens/${encodeURIComponent(nameOrId)}`);
  }

  authority(): Promise<AuthorityStatus> {
    return this.#call<AuthorityStatus>('GET', '/v1/ca');
  }

  /** Goes on with a rotation that was begun. @throws RefusedError `not-applied` when sidecars did not answer in time. */
  rotateAuthority(timeoutMs: number): Promise<AuthorityStatus> {
    return this.#call<AuthorityStatus>('POST', `/v1/ca/rotate?timeoutMs=${timeoutMs}`, timeoutMs);
  }

  #write(
    path: string,
    body: object,
    { waitAppliedMs, percent = 100, isDryRun }: TransactionOptions,
  ): Promise<TransactionResult> {
    const query = new URLSearchParams();
    if (waitAppliedMs > 0) {
      query.set('wait', 'applied');
      query.set('timeoutMs', String(waitAppliedMs));
      if (percent < 100) query.set('percent', String(percent));
    }
    if (isDryRun) query.set('dryRun', '1');
    return this.#call<TransactionResult>('POST', `${path}?${query}`, waitAppliedMs, body);
  }

  #credentials(): Readonly<Record<string, string>> {
    return this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` };
  }

  async #call<Answer>(method: 'GET' | 'POST' | 'DELETE', path: string, extraMs = 0, body?: object): Promise<Answer> {
    const timeoutMs = callTimeoutMs + extraMs;
    const question = {
      url: `${this.#server}${path}`,
      method,
      timeoutMs,
      headers: {
        accept: 'application/json',
        ...(method === 'GET' ? {} : { 'weft-actor': actor() }),
        ...(body === undefined ? {} : { 'content-type': 'application/json', 'idempotency-key': randomUUID() }),
        ...this.#credentials(),
      },
      body: body === undefined ? null : JSON.stringify(body),
    };
    const { status, text } = await askServer(question, this.#trust).catch((error: unknown) => {
      throw error instanceof NoAnswerError ? this.#unreachable(error, timeoutMs, method) : error;
    });
    const answer = parseJson(text);
    if (status >= 200 && status < 300 && answer !== null) return answer as Answer;
    throw this.#failure(method, path, status, text);
  }

  /** Weft's problems name their status; anything else comes from a server that is not a control plane. */
  #failure(method: string, path: string, status: number, text: string): CliError {
    const answer = parseJson(text);
    if (answer !== null && 'status' in answer && 'title' in answer) return new RefusedError(answer as Refusal);
    return new CliError(
      `${this.#server} answered ${status} to ${method} ${path}, but not as a Weft control plane does: is --server right?`,
    );
  }

  #unreachable(cause: NoAnswerError, timeoutMs: number, method: string): CliError {
    if (cause.isTimeout) {
      const outcome = method === 'GET' ? '' : ' Whether the change was made is not known: look with `weft get`.';
      return new CliError(
        `The control plane at ${this.#server} did not answer within ${timeoutMs / 1000} s.${outcome}`,
        undefined,
        { cause },
      );
    }
    return new CliError(this.#explained(cause.reason), undefined, { cause });
  }

  #explained(reason: string): string {
    if (!unbelieved.has(reason) && !/certificate/.test(reason))
      return `No control plane answers at ${this.#server} (${reason}): start one with \`weft control-plane\`, or name another with --server.`;
    return `Whoever answers at ${this.#server} is not believed (${reason}), and was sent nothing: name the root of the mesh with --ca FILE or --ca sha256:HEX. It is root.crt in the control plane's --ca-dir, and \`weft ca status\` shows it. After a \`weft ca rotate\` it is another one than before.`;
  }
}

/** What OpenSSL and node:tls say of a certificate that leads to no root that is believed, or is somebody else's. */
const unbelieved: ReadonlySet<string> = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'CERT_SIGNATURE_FAILURE',
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'ERR_TLS_CERT_ALTNAME_INVALID',
]);

function parseJson(text: string): object | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' ? value : null;
  } catch {
    return null;
  }
}

/** Whom a revision is written down for. */
export function actor(): string {
  try {
    return encodeURIComponent(userInfo().username);
  } catch {
    // A container may run under a number that no account has.
    return String(process.getuid?.() ?? 'unknown');
  }
}
