/** How a person names a kind on the command line: any spelling of `kinds`, in any case. */
import { type Kind, kinds } from '../model/resources.ts';
import { nearest } from '../model/similar-names.ts';
import { usageError } from './terminal.ts';

const kindByName = new Map<string, Kind>();
for (const kind of Object.keys(kinds) as Kind[]) for (const name of kinds[kind].names) kindByName.set(name, kind);

/** Every spelling, for help texts. */
export const kindNames = (Object.keys(kinds) as Kind[]).map((kind) => kinds[kind].collection).join(', ');

/** `service (services, svc), httproute (...)`. */
const spellings = (Object.keys(kinds) as Kind[])
  .map((kind) => {
    const [first, ...more] = kinds[kind].names;
    return `${first} (${more.join(', ')})`;
  })
  .join(', ');

function meant(name: string): string {
  const near = nearest(name.toLowerCase(), [...kindByName.keys()]);
  return near === null ? '' : ` Did you mean ${near}?`;
}

/**
 * @param others names beyond the kinds of resources that the command takes, for the message
 * @throws CliError (exit code 2) for a name that is no kind.
 */
export function parseKind(name: string, others: readonly string[] = []): Kind {
  const kind = kindByName.get(name.toLowerCase());
  if (kind === undefined)
    throw usageError(`There is no kind "${name}".${meant(name)} Kinds are ${[spellings, ...others].join(', ')}.`);
  return kind;
}
