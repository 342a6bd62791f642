/**
 * The lines of the access log for heads that one listener refused. They never become requests, and whoever sends them needs to know nothing:
 * so there are a few lines a second and no more, and the next line says how many were left out.
 */
import { limits } from '../model/limits.ts';
import type { AccessLog } from './access-log.ts';
import type { Direction } from './recorder.ts';

export interface RefusalFacts {
  /** The status of the answer, as far as there was somebody to read it. */
  readonly status: number;
  /** Failure code. */
  readonly failure: string;
  /** The same in words. */
  readonly reason: string;
  readonly detail: string;
  /** `Weft-Request-Id` of the answer; empty: there was none. */
  readonly requestId: string;
  /** IP address of the peer; empty where it is not known. */
  readonly sourceAddress: string;
  /** The calling Service; empty where it is not proved. */
  readonly source: string;
  /** Null: nothing is known of it. Its texts are as the client sent them, and bounded already. */
  readonly request: { readonly method?: string; readonly host?: string; readonly path?: string } | null;
}

export interface RefusalLogOptions {
  readonly accessLog: AccessLog;
  readonly direction: Direction;
  /** `outbound`, `inbound`, `link`, `upstream:NAME`. */
  readonly listener: string;
  /** Ms, any zero, never back. */
  readonly nowMs: () => number;
  /** Ms since the epoch. */
  readonly wallMs: () => number;
}

const windowMs = 1_000;

export class RefusalLog {
  private readonly options: RefusalLogOptions;
  private windowEndsAtMs = Number.NEGATIVE_INFINITY;
  private linesInWindow = 0;
  private leftOut = 0;

  constructor(options: RefusalLogOptions) {
    this.options = options;
  }

  log({ status, failure, reason, detail, requestId, sourceAddress, source, request }: RefusalFacts): void {
    const { accessLog, direction, listener, nowMs, wallMs } = this.options;
    const atMs = nowMs();
    if (atMs >= this.windowEndsAtMs) {
      this.windowEndsAtMs = atMs + windowMs;
      this.linesInWindow = 0;
    }
    if (this.linesInWindow >= limits.refusalLinesPerSecondMax) {
      this.leftOut++;
      return;
    }
    this.linesInWindow++;
    const { leftOut } = this;
    this.leftOut = 0;
    // The names are those of the other lines; what is not known is absent.
    accessLog.write({
      time: new Date(wallMs()).toISOString(),
      direction,
      listener,
      method: request?.method,
      host: request?.host,
      // As it came: a pattern of --redact-path may not know its secret in another form.
      path: accessLog.isRedacted ? undefined : request?.path,
      source: source || undefined,
      sourceAddress: sourceAddress || undefined,
      status,
      failure,
      reason,
      // A field's name may be in it.
      detail: detail.slice(0, limits.refusalDetailCharsMax),
      traceId: requestId || undefined,
      refusalsLeftOut: leftOut || undefined,
    });
  }
}
