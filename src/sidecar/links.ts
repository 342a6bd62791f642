/** The links of one event loop of a sidecar: how it calls others over theirs, and how others call its app. */
import { performance } from 'node:perf_hooks';
import type { HostPort } from '../model/host-port.ts';
import type { CoarseTimer } from '../proxy/coarse-timer.ts';
import type { LinkIdentity } from '../proxy/link/link-identity.ts';
import { createLinkListener } from '../proxy/link/link-server.ts';
import type { LinkSecurity } from '../proxy/link/link-socket.ts';
import { LinkUpstream } from '../proxy/link/link-upstream.ts';
import type { Listener, ListenerOptions } from '../proxy/request.ts';
import type { LoopEndpoint } from '../proxy/tables.ts';
import type { LimitedLog } from '../telemetry/limited-log.ts';
import type { Instruments } from './instruments.ts';

export interface LinksOptions {
  readonly isInsecure: boolean;
  readonly identity: LinkIdentity;
  readonly timer: CoarseTimer;
  readonly instruments: Instruments;
  readonly log: LimitedLog;
}

export class Links {
  private readonly security: LinkSecurity;
  private readonly options: LinksOptions;

  constructor(options: LinksOptions) {
    this.options = options;
    this.security = options.isInsecure ? { tag: 'insecure' } : { tag: 'mutual-tls', identity: options.identity };
  }

  /** The way to an endpoint that has a sidecar with a link. */
  openUpstream({ link, identity, address }: LoopEndpoint): LinkUpstream {
    const { timer, instruments, log } = this.options;
    return new LinkUpstream({
      addresses: link,
      identity,
      security: this.security,
      timer,
      now: () => performance.now(),
      wallMs: () => Date.now(),
      random: Math.random,
      onTrouble: (linkAddress, { code, message }, detail) => {
        instruments.recorder.countFailure('outbound', `link:${code}`);
        log.warn({ endpoint: address, link: linkAddress, identity, failure: code, detail }, message);
      },
    });
  }

  /** Rejects with ListenError. */
  async listen(
    { host, port }: HostPort,
    options: Required<Pick<ListenerOptions, 'acceptor' | 'paths' | 'limits' | 'onRefused'>>,
  ): Promise<Listener> {
    const { timer, instruments, log } = this.options;
    return createLinkListener({
      host,
      port,
      ...options,
      security: this.security,
      timer,
      now: () => performance.now(),
      onCallerRefused: (reason, caller, detail) => {
        instruments.recorder.countFailure('inbound', `link:${reason}`);
        // The reason is part of what is limited: a stream of one kind must not hide the others.
        log.warn({ reason, caller, detail }, `a caller was refused the link: ${reason}`);
      },
      loopDelay: instruments.loopWaitMs,
    });
  }
}
