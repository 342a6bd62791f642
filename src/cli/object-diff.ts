/** Changes of resources for people: a unified diff of their YAML, object by object. */
import { stringify } from 'yaml';
import type { Resource } from '../model/resources.ts';
import type { ObjectChange, TransactionResult } from './client.ts';
import { unifiedDiff } from './unified-diff.ts';

/** What both sides are called: `revision 11`, `now`. */
export interface SideNames {
  readonly before: string;
  readonly after: string;
}

/** What a dry run says that it would change. */
export const changesOf = (results: TransactionResult['results']): readonly ObjectChange[] =>
  results
    .filter(({ before, after }) => before !== undefined && after !== undefined)
    .map(({ kind, namespace, name, ...change }) => ({ object: `${kind}/${namespace}/${name}`, ...change }));

/** Empty when nothing differs. Coloured as git does it. */
export function formatDiff(changes: readonly ObjectChange[], names: SideNames, hasColours: boolean): string {
  const paint = hasColours ? coloured : (line: string) => line;
  return changes.flatMap((change) => diffOf(change, names).map(paint)).join('\n');
}

function diffOf({ object, action, before, after }: ObjectChange, names: SideNames): readonly string[] {
  if (before === undefined || after === undefined) return [`# ${object} ${action}: it is no resource, and not shown`];
  const lines = unifiedDiff(textOf(before), textOf(after));
  if (lines.length === 0) return [];
  const side = (value: Resource | null, name: string) => (value === null ? '/dev/null' : `${object} (${name})`);
  return [`--- ${side(before, names.before)}`, `+++ ${side(after, names.after)}`, ...lines];
}

/** By the names of fields, whatever order they were written in, and without what the control plane adds. */
function textOf(resource: Resource | null): string {
  if (resource === null) return '';
  const { resourceVersion: _, creationTimestamp: __, ...metadata } = resource.metadata;
  return stringify({ ...resource, metadata }, { sortMapEntries: true, aliasDuplicateObjects: false });
}

const inColour = (code: number, line: string): string => `\u001b[${code}m${line}\u001b[0m`;

function coloured(line: string): string {
  if (line.startsWith('--- ') || line.startsWith('+++ ')) return inColour(1, line);
  if (line.startsWith('@@')) return inColour(36, line);
  if (line.startsWith('-')) return inColour(31, line);
  if (line.startsWith('+')) return inColour(32, line);
  return line;
}
