/** The admin port of one sidecar, as the command line asks it. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { DescribedRequest, DryDecision } from '../model/decision.ts';
import { formatAddress, type HostPort } from '../model/host-port.ts';
import { limits } from '../model/limits.ts';
import type { LatencyAnswer, RecentAnswer } from '../model/recent-request.ts';
import { isRequestId } from '../sidecar/request-query.ts';
import { parseTargetAddress } from './flag-values.ts';
import { CliError } from './terminal.ts';

const callTimeoutMs = 10_000;

export interface AdminFlags {
  readonly admin: HostPort;
  readonly output: 'table' | 'json';
}

/** Adds `--admin` and `-o`, and says that one sidecar is asked. */
export function addAdminFlags(command: Command): Command {
  return command
    .addOption(
      new Option('--admin <host:port>', 'admin port of the sidecar to ask')
        .argParser(parseTargetAddress)
        .default({ host: '127.0.0.1', port: 15_000 }, '127.0.0.1:15000'),
    )
    .addOption(new Option('-o, --output <format>', 'how').choices(['table', 'json']).default('table'));
}

/** For the help of each command that takes `--admin`. */
export const asksOneSidecar = `
It asks one sidecar, which knows the calls that it made and took itself: of a call between two sidecars each has its own half, and the
caller's has what the other said of itself. The last 1,024 of each event loop are kept, failures and the slowest longer; beyond 512 a second
a share of them, and the last 256 with a traceparent that is sampled (docs/ledger.md).`;

/** A trace id, a span id, or a whole `traceparent`, of which the trace id is taken. */
export function parseRequestId(text: string): string {
  const id = /^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$/.exec(text)?.[1] ?? text;
  if (!isRequestId(id))
    throw new InvalidArgumentError(
      'Expected a trace id (Weft-Request-Id, 32 hexadecimal digits), a span id (16), or a traceparent.',
    );
  return id;
}

export class AdminClient {
  readonly #address: string;

  constructor({ admin }: AdminFlags) {
    this.#address = formatAddress(admin);
  }

  /** Of the names of request-query.ts; absent ones ask for nothing. */
  requests(query: Readonly<Record<string, string>>): Promise<RecentAnswer> {
    return this.#get<RecentAnswer>(`/requests?${new URLSearchParams(query)}`, 'requests');
  }

  /** @throws CliError when none is kept. */
  request(id: string): Promise<RecentAnswer> {
    return this.#get<RecentAnswer>(`/requests/${id}`, 'requests');
  }

  /** What would become of a request that is not sent. */
  describe({ method, host, path, headers }: DescribedRequest): Promise<DryDecision> {
    const query = new URLSearchParams({ method, host, path });
    for (const [name, value] of headers) query.append('header', `${name}: ${value}`);
    return this.#get<DryDecision>(`/decision?${query}`, 'decision');
  }

  latency(service: string): Promise<LatencyAnswer> {
    return this.#get<LatencyAnswer>(`/latency?${new URLSearchParams({ service })}`, 'hops');
  }

  /** `field`: what every right answer has. */
  async #get<Answer extends object>(path: string, field: keyof Answer & string): Promise<Answer> {
    let answer: unknown;
    let status = 0;
    try {
      const response = await fetch(`http://${this.#address}${path}`, { signal: AbortSignal.timeout(callTimeoutMs) });
      status = response.status;
      answer = await response.json();
    } catch (cause) {
      throw status === 0 ? this.#unreachable(cause) : this.#notASidecar(status, cause);
    }
    if (typeof answer === 'object' && answer !== null) {
      if (status === 200 && field in answer) return answer as Answer;
      if ('error' in answer && 'message' in answer) throw new CliError(String(answer.message));
    }
    throw this.#notASidecar(status);
  }

  #notASidecar(status: number, cause?: unknown): CliError {
    const message = `${this.#address} answered ${status}, but not as the admin port of a sidecar does: is --admin right?`;
    return new CliError(message, undefined, { cause });
  }

  #unreachable(cause: unknown): CliError {
    const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
    const reason = inner instanceof Error ? ('code' in inner ? inner.code : inner.message) : inner;
    return new CliError(
      `No sidecar answers at ${this.#address} (${String(reason)}): name its admin port with --admin HOST:PORT. The line that a sidecar prints when it is ready has it.`,
      undefined,
      { cause },
    );
  }
}

/** That more of a trace may have ended here than one answer holds; empty: it has all that are kept. */
export const onlyTheLast = ({ requests }: Pick<RecentAnswer, 'requests'>): string =>
  requests.length < limits.recentAnswerMax
    ? ''
    : `\n(the last ${limits.recentAnswerMax} of this trace: there may be more)`;

/** Of an answer whose sidecar does not keep all. */
export const keptShare = ({ keptOneIn }: { readonly keptOneIn: number }): string =>
  `one request in ${keptOneIn} is kept here, for there are many; and beside them the last failures and the slowest`;

/** What a person must know of an answer that is not whole; empty: it is. */
export const missingLoops = ({ loopsMissing }: { readonly loopsMissing: number }): string =>
  loopsMissing === 0
    ? ''
    : `\n(${loopsMissing} of the sidecar's event loops did not answer in time: theirs is missing)`;
