/** Where an object is that was not found in the namespace it was looked for in: a forgotten -n is the usual reason. */
import { namespaceOf } from '../model/resources.ts';
import type { ControlPlaneClient, ObjectName } from './client.ts';
import { CliError } from './terminal.ts';

const namespacesShownMax = 3;

/** A sentence with a space before it; empty when there is none of this name, or when one may not look. */
export async function elsewhere(
  client: Pick<ControlPlaneClient, 'list'>,
  { kind, name, namespace }: ObjectName,
): Promise<string> {
  try {
    const { items } = await client.list(kind);
    const others = items
      .filter((item) => item.metadata.name === name)
      .map(namespaceOf)
      .filter((other) => other !== namespace);
    const [first] = others;
    if (first === undefined) return '';
    if (others.length === 1) return ` There is one in namespace ${first} (-n ${first}).`;
    const shown = others.slice(0, namespacesShownMax).join(', ');
    const more = others.length > namespacesShownMax ? ` and ${others.length - namespacesShownMax} more` : '';
    return ` There are some in namespaces ${shown}${more} (-n ${first}).`;
  } catch (error) {
    // It is only a hint: what is to be told is that the object was not found.
    if (error instanceof CliError) return '';
    throw error;
  }
}
