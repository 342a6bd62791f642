/**
 * What control planes on one store tell each other of the sidecars that are connected to them: that all have everything up to a revision, but
 * for those that are named. It is written again whenever that changes, so it is short as long as all is well.
 */
import { limits } from '../model/limits.ts';
import { version } from '../model/version.ts';
import type { SidecarStatus } from './fleet.ts';
import { type Member, reasonOf, revisionOf, stateOf } from './fleet-member.ts';

/** A sidecar as another control plane says it is. */
export interface SidecarElsewhere {
  readonly connected: boolean;
  readonly state: SidecarStatus['state'];
  readonly revision: number;
  readonly reason: string | null;
  readonly softwareVersion: string;
  readonly hasOlderUwsCore: boolean;
}

/** Of a control plane itself. */
export interface ReplicaFacts {
  /** `HOST:PORT` of its API. */
  readonly api: string;
  /** ISO 8601. */
  readonly startedAt: string;
  /** SHA-256 of the roots whose keys it has. */
  readonly roots: readonly string[];
}

export interface FleetNote extends ReplicaFacts {
  /** The newest revision that it has taken in. */
  readonly revision: number;
  /** Those that differ from a connected sidecar of the same version as the control plane that has all of it. */
  readonly sidecars: Readonly<Record<string, Partial<SidecarElsewhere>>>;
  /** There are more than a note holds: of others nothing is said. */
  readonly isCut: boolean;
  readonly softwareVersion: string;
}

export function composeNote(members: Iterable<Member>, newest: number, facts: ReplicaFacts): string {
  const sidecars: Record<string, Partial<SidecarElsewhere>> = {};
  let chars = 0;
  let isCut = false;
  for (const member of members) {
    // Somebody else's; that one says how it is.
    if (member.elsewhere !== null) continue;
    const differences = differencesOf(member, newest);
    if (differences === null) continue;
    chars += member.id.length + JSON.stringify(differences).length;
    if (chars > limits.replicaNoteCharsMax) {
      isCut = true;
      break;
    }
    sidecars[member.id] = differences;
  }
  const note: FleetNote = { ...facts, revision: newest, sidecars, isCut, softwareVersion: version };
  return JSON.stringify(note);
}

/** Null: none. */
function differencesOf(member: Member, newest: number): Partial<SidecarElsewhere> | null {
  const state = stateOf(member);
  const revision = revisionOf(member, newest);
  const { connection, softwareVersion, hasOlderUwsCore } = member;
  const differences: { -readonly [Field in keyof SidecarElsewhere]?: SidecarElsewhere[Field] } = {};
  if (connection === null) differences.connected = false;
  if (state !== 'synced') differences.state = state;
  if (revision < newest) differences.revision = revision;
  const reason = reasonOf(member);
  if (reason !== null) differences.reason = reason;
  if (connection !== null && softwareVersion !== version) differences.softwareVersion = softwareVersion;
  if (hasOlderUwsCore) differences.hasOlderUwsCore = true;
  return Object.keys(differences).length === 0 ? null : differences;
}

/** Null: it has said nothing yet, or says it in a way that only a newer Weft understands. */
export function parseNote(text: string): FleetNote | null {
  try {
    const note = (JSON.parse(text) ?? {}) as Partial<FleetNote>;
    return typeof note.revision === 'number' && typeof note.sidecars === 'object' ? (note as FleetNote) : null;
  } catch {
    return null;
  }
}

/** What a note says of a sidecar; of a lease that is younger than the note (null), nothing but that it lives. */
export function elsewhereOf(note: FleetNote | null, id: string): SidecarElsewhere {
  const said = note?.sidecars[id];
  if (note === null || (said === undefined && note.isCut)) return unknown;
  return {
    connected: true,
    state: 'synced',
    revision: note.revision,
    reason: null,
    softwareVersion: note.softwareVersion,
    hasOlderUwsCore: false,
    ...said,
  };
}

const unknown: SidecarElsewhere = {
  connected: true,
  state: 'pending',
  revision: 0,
  reason: null,
  softwareVersion: '',
  hasOlderUwsCore: false,
};
