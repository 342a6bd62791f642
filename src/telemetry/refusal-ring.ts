/**
 * The last heads that one listener refused. They never became requests, so they are not among those; but their clients were shown an id, and
 * may ask by it. One ring for each listener: a flood from outside takes nothing away from the own app.
 */
import type { RefusedHeadRecord } from '../model/decision.ts';
import { limits } from '../model/limits.ts';
import type { Direction } from './recorder.ts';
import type { RefusalFacts } from './refusal-log.ts';
import { ownCopy } from './request-slots.ts';

const charsMax = limits.refusalDetailCharsMax;

export class RefusalRing {
  private readonly kept: RefusedHeadRecord[] = [];
  private refused = 0;

  constructor(
    private readonly direction: Direction,
    /** `outbound`, `inbound`, `link`, `upstream:NAME`. */
    private readonly listener: string,
    /** Ms since the epoch. */
    private readonly wallMs: () => number,
  ) {}

  /** One without an id is not kept: nobody could ask for it. */
  record({ requestId, source, sourceAddress, request, status, failure, detail }: RefusalFacts): void {
    if (requestId === '') return;
    const { direction, listener } = this;
    this.kept[this.refused++ % limits.recentRefusalsMax] = {
      requestId,
      time: new Date(this.wallMs()).toISOString(),
      direction,
      listener,
      source,
      sourceAddress,
      method: ownCopy(request?.method ?? '', charsMax),
      host: ownCopy(request?.host ?? '', charsMax),
      path: ownCopy(request?.path ?? '', charsMax),
      status,
      failure,
      detail: ownCopy(detail, charsMax),
    };
  }

  find(requestId: string): readonly RefusedHeadRecord[] {
    return this.kept.filter((each) => each.requestId === requestId);
  }
}
