/** How a person names a kind on the command line: any spelling of `kinds`, in any case. */
import { type Kind, kinds } from '../model/resources.ts';
import { usageError } from './terminal.ts';

const kindByName = new Map<string, Kind>();
for (const kind of Object.keys(kinds) as Kind[]) for (const name of kinds[kind].names) kindByName.set(name, kind);

/** Every spelling, for help texts. */
export const kindNames = (Object.keys(kinds) as Kind[]).map((kind) => kinds[kind].collection).join(', ');

/**
 * @param others names beyond the kinds of resources that the command takes, for the message
 * @throws CliError (exit code 2) for a name that is no kind.
 */
export function parseKind(name: string, others: readonly string[] = []): Kind {
  const kind = kindByName.get(name.toLowerCase());
  if (kind === undefined)
    throw usageError(`There is no kind "${name}". Kinds are ${[kindNames, ...others].join(', ')}.`);
  return kind;
}
