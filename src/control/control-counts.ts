/** What a control plane counts of its own work, where it happens: how long changes take to reach the sidecars, what was asked and refused, what the store took. */
import { DurationCounts, LabelledCounts } from '../telemetry/metric-families.ts';
import { knownAddresses } from './api/permissions.ts';

export const statusClasses = ['1xx', '2xx', '3xx', '4xx', '5xx'] as const;
export const storeOperations = ['commit', 'sync', 'lease'] as const;
export type StoreOperation = (typeof storeOperations)[number];

/** `le` of the histograms, ms. */
export const appliedBoundsMs = [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000] as const;
export const storeBoundsMs = [1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000] as const;

/** Codes are constants of the code; the bound is for the day when one is not. */
const codesMax = 128;

export class ControlCounts {
  /** From a change's coming out of the store to a sidecar's acknowledgement. */
  readonly applied = new DurationCounts(appliedBoundsMs);
  readonly answers = { applied: 0, refused: 0 };
  readonly store = { commit: new DurationCounts(storeBoundsMs), sync: new DurationCounts(storeBoundsMs) };
  readonly storeFailures = new LabelledCounts<'operation' | 'code'>(['operation', 'code'], codesMax);
  readonly requests = new LabelledCounts<'address' | 'status_class'>(
    ['address', 'status_class'],
    (knownAddresses().length + 1) * statusClasses.length,
  );
  readonly refusals = new LabelledCounts<'port' | 'code'>(['port', 'code'], codesMax);

  constructor() {
    for (const operation of storeOperations) this.storeFailures.count({ operation, code: 'store-unavailable' }, 0);
    this.refusals.count({ port: 'api', code: 'unavailable' }, 0);
    this.refusals.count({ port: 'push', code: 'token' }, 0);
  }

  /** `route` is as in permissions.ts; undefined: no address of the API. */
  request(method: string, route: string | undefined, status: number): void {
    const known = `${method === 'HEAD' ? 'GET' : method} ${route}`;
    const address = route !== undefined && addresses.has(known) ? known : 'unknown';
    this.requests.count({ address, status_class: statusClasses[Math.floor(status / 100) - 1] ?? '5xx' });
  }

  refused(port: 'api' | 'push', code: string): void {
    this.refusals.count({ port, code });
  }

  storeFailed(operation: StoreOperation, code: string): void {
    this.storeFailures.count({ operation, code });
  }
}

const addresses: ReadonlySet<string> = new Set(knownAddresses());
