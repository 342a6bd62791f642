/** The sidecars as the control plane knows them: what the API shows of them and how it waits for them. Implemented by fleet-*.ts and publisher.ts. */
import type { Registration } from '../model/registration.ts';
import type { WindowStats } from '../model/report.ts';

export interface SidecarStatus {
  readonly sidecar: string;
  readonly service: string;
  readonly namespace: string;
  readonly connected: boolean;
  /** synced: has all that concerns it. pending: a ChangeSet is on its way. refused: its last nack stands. lost: not connected, its lease lives. */
  readonly state: 'synced' | 'pending' | 'refused' | 'lost';
  /** How long it has been in it, as this control plane has seen. */
  readonly stateAgeMs: number;
  /** Newest revision whose changes, as far as they concern it, it has acknowledged. */
  readonly revision: number;
  /** Of the last nack while it stands, else why it registers nothing though it has an app; null: neither. */
  readonly reason: string | null;
  readonly subscriptions: readonly string[];
  readonly registration: Registration | null;
  /** It runs with --insecure-link: its links have no identity. */
  readonly isLinkInsecure: boolean;
  readonly softwareVersion: string;
  /** A listener of it runs on the older uWebSockets.js core (docs/uws.md); false also where it is not connected here. */
  readonly hasOlderUwsCore: boolean;
  readonly leaseEndsInMs: number;
}

/** A control plane on the store. */
export interface ReplicaStatus {
  /** `HOST:PORT` of its API; empty: it has not said so yet. */
  readonly api: string;
  /** ISO 8601; empty likewise. */
  readonly startedAt: string;
  /** Compacts the store. */
  readonly isLeader: boolean;
  /** The one that answers. */
  readonly isSelf: boolean;
  readonly sidecars: number;
  /** SHA-256 of those whose keys it has; empty: it has not said so yet. */
  readonly roots: readonly string[];
}

export interface AppliedReport {
  readonly revision: number;
  /** As many as were asked for have it in force. */
  readonly isEnough: boolean;
  readonly applied: readonly SidecarName[];
  readonly missing: readonly SidecarName[];
  readonly refused: readonly (SidecarName & { readonly reason: string })[];
}

export interface SidecarName {
  readonly sidecar: string;
  readonly service: string;
  readonly namespace: string;
}

export interface Fleet {
  /** All of the mesh, whichever control plane they are connected to. */
  list(): readonly SidecarStatus[];
  /** How many there are in each state, of those whose leases this control plane holds, or nobody that lives. */
  countHere(): Readonly<Record<SidecarStatus['state'], number>>;
  /** The control planes that live, this one first. */
  replicas(): readonly ReplicaStatus[];
  /**
   * Waits until every sidecar whose lease is alive and that `revision` concerns has it in force; connected or not; or `percent` of them (1 to
   * 100, 100 by itself). Resolves early when all are applied or refused (a sidecar whose lease ends meanwhile no longer counts), else at
   * the deadline.
   */
  waitApplied(revision: number, timeoutMs: number, percent?: number): Promise<AppliedReport>;
  /** Golden metrics and parts over the last window, as reported by the sidecars that are connected here. */
  stats(): WindowStats;
}
