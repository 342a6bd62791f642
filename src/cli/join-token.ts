/** The join token that a sidecar is started with: out of a file, or of the environment. */
import { readFileSync } from 'node:fs';
import { limits } from '../model/limits.ts';
import { usageError } from './terminal.ts';

const tokenPattern = /^[\w-]+\.[\w-]+\.[\w-]+$/;

/**
 * Null: there is none. A file that was named wins over WEFT_JOIN_TOKEN; an empty variable is none.
 * @throws CliError (exit code 2) when the file cannot be read, or when what is there is no token.
 */
export function readJoinToken(
  file: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): string | null {
  if (file !== undefined) return checked(readToken(file), `--join-token-file ${file}`);
  const fromEnv = env.WEFT_JOIN_TOKEN?.trim() ?? '';
  return fromEnv === '' ? null : checked(fromEnv, 'WEFT_JOIN_TOKEN');
}

function readToken(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    throw usageError(`--join-token-file ${file} cannot be read: ${(error as Error).message}.`);
  }
}

/** The token itself is a secret, and is not repeated. */
function checked(token: string, from: string): string {
  if (token.length <= limits.tokenCharsMax && tokenPattern.test(token)) return token;
  throw usageError(`${from} holds no join token: expected what \`weft token create --join --service NAME\` prints.`);
}
