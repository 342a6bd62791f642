/** What the commands that show reported traffic say alike: whose reports it is made of, and why there is none. */
import type { ReportScope, WindowStats } from '../model/report.ts';
import { namespaceOf } from '../model/resources.ts';
import type { ControlPlaneClient } from './client.ts';
import { countOf } from './table.ts';
import { CliError } from './terminal.ts';

const namesShownMax = 20;

export const secondsOf = ({ windowMs }: Pick<WindowStats, 'windowMs'>): number => Math.round(windowMs / 1000);

/** What a person must know of numbers that are not those of the whole mesh, each on a line of its own; empty: nothing. `scope` absent: an older control plane. */
export function scopeNotes(scope: ReportScope | undefined): string {
  if (scope === undefined) return '';
  const { controlPlane, sidecarsElsewhere, requestsWithoutDetail } = scope;
  const notes: string[] = [];
  if (sidecarsElsewhere > 0)
    notes.push(
      `note: ${countOf(sidecarsElsewhere, 'sidecar')} of the mesh report to other control planes than ${controlPlane || 'this one'}, and what they saw is not in this: ask those with --server (\`weft status\` names them)`,
    );
  if (requestsWithoutDetail > 0)
    notes.push(
      `note: ${countOf(requestsWithoutDetail, 'request')} are counted, but not in percentiles and parts: the control plane had no room for how they were spread`,
    );
  return notes.map((note) => `\n${note}`).join('');
}

/**
 * That there were no requests, in words.
 * @throws CliError for a name that nobody has: it may be a slip of the keyboard, then the ones there are help.
 */
export async function describeNone(
  service: string | undefined,
  windowSeconds: number,
  client: ControlPlaneClient,
): Promise<string> {
  const last = `in the last ${windowSeconds} s`;
  if (service === undefined) return `no requests ${last}`;
  const none = `no requests to or from ${service} ${last}`;
  const [services, sidecars] = await Promise.all([client.list('Service'), client.sidecars()]);
  const known = new Set([
    ...services.items.map((item) => `${item.metadata.name}.${namespaceOf(item)}`),
    ...sidecars.map((sidecar) => `${sidecar.service}.${sidecar.namespace}`),
  ]);
  const names = [...known].sort();
  if (names.some((name) => isNamed(name, service))) return none;
  if (names.length === 0) throw new CliError(`${none}; the mesh has no services yet`);
  throw new CliError(`${none}; the mesh has no such service, but ${someOf(names)}`);
}

/** The first of them, and how many more there are. */
export function someOf(names: readonly string[]): string {
  const more = names.length > namesShownMax ? ` and ${names.length - namesShownMax} more` : '';
  return names.slice(0, namesShownMax).join(', ') + more;
}

/** `cart` and `cart.default` are names of `cart.default`. */
export const isNamed = (fullName: string, service: string): boolean =>
  fullName === service || fullName.startsWith(`${service}.`);
