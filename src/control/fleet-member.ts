/** One sidecar as this control plane knows it: by its lease, by its connection, or both. */
import type { SidecarLease } from '../model/registration.ts';
import type { SidecarName, SidecarStatus } from './fleet.ts';
import type { SidecarElsewhere } from './fleet-note.ts';
import type { Epoch, Held, Scope, View } from './scope.ts';

/** A connection as the publisher and the sessions use it. Nothing here throws when it is closed. */
export interface PushConnection {
  /** Sends a frame; a connection that cannot take it is closed. */
  send(frame: Uint8Array): void;
  /** Says why in a Refusal, then closes. */
  refuse(code: string, message: string): void;
  close(): void;
}

/** The one ChangeSet that can be on its way. */
export type Delivery =
  | { readonly tag: 'none' }
  | { readonly tag: 'sent'; readonly sequence: number; readonly view: View; readonly scope: Scope<Member> }
  /** The sidecar keeps what it holds. Nothing is sent until its scope has another view. */
  | { readonly tag: 'refused'; readonly view: View; readonly reason: string };

export interface Member {
  readonly id: string;
  /** As its connection says, else as the store has it. */
  lease: SidecarLease;
  /** False: the lease ended while the connection lives on, until it is renewed. */
  hasLease: boolean;
  connection: PushConnection | null;
  /** As the other control plane says that holds its lease; null: that is this one, or none that lives. */
  elsewhere: SidecarElsewhere | null;
  softwareVersion: string;
  hasOlderUwsCore: boolean;
  /** Why it registers nothing though it has an app, as its connection says; empty: it does not say. */
  trouble: string;
  /** Its registration has created its Service, and it was not told yet. */
  hasFounded: boolean;
  scope: Scope<Member>;
  /** What it has in force, as far as it has said. */
  held: Held;
  /** Hosts that it subscribed again: it has forgotten their answers, whatever it was sent before. Null: none. */
  asked: ReadonlySet<string> | null;
  /** Sequence of the last ChangeSet that it acknowledged on its connection, and of the last that was sent. */
  heldSequence: number;
  sequence: number;
  delivery: Delivery;
  /** Of the view that it acknowledged last. Null: none yet of its present scope, then `floorRevision` says what it surely has. */
  epoch: Epoch | null;
  floorRevision: number;
  /** When the first change that it has not acknowledged was made, while it is connected and has had a first ChangeSet; null: it has all. */
  behindSinceMs: number | null;
  /** Its state when it was looked at last, and since when; null: never. */
  seen: { readonly state: SidecarStatus['state']; readonly sinceMs: number } | null;
}

/** The newest revision of which it has acknowledged all that concerns it. `newest` is the newest that this control plane has seen. */
export function revisionOf({ elsewhere, epoch, floorRevision, scope }: Member, newest: number): number {
  if (elsewhere !== null) return Math.min(elsewhere.revision, newest);
  if (epoch === null) return floorRevision;
  return Math.min(epoch.nextChangeAt - 1, (scope.staleSince ?? Number.POSITIVE_INFINITY) - 1, newest);
}

/** Whether it has everything up to `revision` in force. `refused` and `applied` are final until something changes. */
export function outcomeOf(member: Member, revision: number, newest: number): 'applied' | 'refused' | 'missing' {
  if (revisionOf(member, newest) >= revision) return 'applied';
  return isRefusing(member) ? 'refused' : 'missing';
}

/** Its last nack stands: nothing newer is on its way, nor about to be. */
export function isRefusing({ elsewhere, delivery, scope }: Member): boolean {
  if (elsewhere !== null) return elsewhere.state === 'refused';
  return delivery.tag === 'refused' && delivery.view === scope.view && scope.staleSince === null;
}

/** What it refused a change for, or why nobody is sent to its app. What a connection said that is gone may have passed. */
export function reasonOf({ elsewhere, delivery, connection, trouble }: Member): string | null {
  if (elsewhere !== null) return elsewhere.reason;
  if (delivery.tag === 'refused') return delivery.reason;
  return connection === null || trouble === '' ? null : trouble;
}

export function nameOf({ id, lease: { service, namespace } }: Member): SidecarName {
  return { sidecar: id, service, namespace };
}

export function stateOf(member: Member): SidecarStatus['state'] {
  if (member.elsewhere !== null) return member.elsewhere.state;
  if (member.connection === null) return 'lost';
  if (isRefusing(member)) return 'refused';
  const isCurrent = member.delivery.tag === 'none' && member.held === member.scope.view;
  return isCurrent && member.scope.staleSince === null ? 'synced' : 'pending';
}
