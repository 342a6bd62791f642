/** `/metrics` of a control plane: what it has counted, and how it stands when it is asked. docs/metrics.md has every one of them. */
import type { LoopReading } from '../telemetry/loop-delay.ts';
import { add, counter, gauge, histogram, type MetricFamily, processFamilies } from '../telemetry/metric-families.ts';
import type { ProcessReading } from '../telemetry/process-reading.ts';
import type { ControlCounts } from './control-counts.ts';
import type { SidecarStatus } from './fleet.ts';

export interface ControlReading {
  readonly revision: number;
  /** Control planes on the store that live, this one among them. */
  readonly replicas: number;
  readonly isLeader: boolean;
  /** Its root is acknowledged, so that it gives certificates. */
  readonly isSigning: boolean;
  /** Those whose leases this control plane holds. */
  readonly sidecars: Readonly<Record<SidecarStatus['state'], number>>;
  readonly pushConnections: number;
  readonly watchers: number;
  /** Since all that the store had was known here. */
  readonly storeAgeMs: number;
  readonly loop: LoopReading;
  readonly process: ProcessReading;
}

export function controlFamilies(counts: ControlCounts, reading: ControlReading): MetricFamily[] {
  return [...counted(counts), ...standing(reading), ...processFamilies(reading.process)];
}

function counted(counts: ControlCounts): MetricFamily[] {
  const applied = histogram(
    'weft_control_plane_apply_seconds',
    'From a change coming out of the store to its acknowledgement by a connected sidecar that it concerns.',
  );
  counts.applied.addTo(applied, {});
  const answers = counter('weft_control_plane_pushes_total', 'ChangeSets that sidecars have answered.');
  add(answers, { outcome: 'applied' }, counts.answers.applied);
  add(answers, { outcome: 'refused' }, counts.answers.refused);
  const store = histogram('weft_control_plane_store_seconds', 'What commits and looks at the head of the store take.');
  counts.store.commit.addTo(store, { operation: 'commit' });
  counts.store.sync.addTo(store, { operation: 'sync' });
  const failures = counter('weft_control_plane_store_failures_total', 'Calls to the store that failed.');
  counts.storeFailures.addTo(failures);
  const requests = counter('weft_control_plane_requests_total', 'Requests to the API that were answered.');
  counts.requests.addTo(requests);
  const refusals = counter('weft_control_plane_refusals_total', 'What the API and the push port refused, by code.');
  counts.refusals.addTo(refusals);
  return [applied, answers, store, failures, requests, refusals];
}

function standing(reading: ControlReading): MetricFamily[] {
  const sidecars = gauge('weft_control_plane_sidecars', 'Sidecars whose leases this control plane holds.');
  for (const [state, count] of Object.entries(reading.sidecars)) add(sidecars, { state }, count);
  return [
    one('weft_control_plane_revision', 'Newest revision that is known here.', reading.revision),
    one('weft_control_plane_replicas', 'Control planes on the store that live.', reading.replicas),
    one('weft_control_plane_leader', '1 where it does what only one of them may do.', Number(reading.isLeader)),
    one('weft_control_plane_signing', '1 while it gives certificates.', Number(reading.isSigning)),
    sidecars,
    one('weft_control_plane_push_connections', 'Connections to the push port.', reading.pushConnections),
    one('weft_control_plane_watchers', 'Watches of the API that are open.', reading.watchers),
    one(
      'weft_control_plane_store_age_seconds',
      'Since all that the store had was known here.',
      Math.max(0, reading.storeAgeMs) / 1000,
    ),
    one(
      'weft_control_plane_event_loop_delay_seconds',
      'Longest turn of the event loop since about the last two scrapes.',
      reading.loop.longestTurnMs / 1000,
    ),
    one(
      'weft_control_plane_event_loop_utilization',
      'Share of time in which the event loop did not sleep, 0 to 1.',
      reading.loop.utilization,
    ),
  ];
}

function one(name: string, help: string, value: number): MetricFamily {
  const metric = gauge(name, help);
  add(metric, {}, value);
  return metric;
}
