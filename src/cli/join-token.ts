/** The join token that a sidecar is started with: out of a file, or of the environment. */
import { isTokenText } from '../sidecar/identity/join-token.ts';
import { readTokenFile } from '../sidecar/identity/join-token-file.ts';
import { usageError } from './terminal.ts';

/** How every JWT begins: `{"`, in base64url. */
const tokenStart = /^eyJ[\w-]+(\.|$)/;

/**
 * Null: there is none. A file that was named wins over WEFT_JOIN_TOKEN; an empty variable is none.
 * Rejects with CliError (exit code 2) when the file cannot be read, or when what is there is no token.
 */
export async function readJoinToken(
  file: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): Promise<string | null> {
  if (file !== undefined) return checked(await readToken(file), `--join-token-file ${file}`);
  const fromEnv = env.WEFT_JOIN_TOKEN?.trim() ?? '';
  return fromEnv === '' ? null : checked(fromEnv, 'WEFT_JOIN_TOKEN');
}

async function readToken(file: string): Promise<string> {
  try {
    return await readTokenFile(file);
  } catch (error) {
    // The system's own message repeats the path.
    if (tokenStart.test(file))
      throw usageError(
        'The value of --join-token-file looks like the token itself: put it into a file, or into WEFT_JOIN_TOKEN. (Whoever sees the command line has it now: make another one if that is not only you.)',
      );
    throw usageError(`--join-token-file ${file} cannot be read: ${(error as Error).message}.`);
  }
}

/** The token itself is a secret, and is not repeated. */
function checked(token: string, from: string): string {
  if (isTokenText(token)) return token;
  throw usageError(`${from} holds no join token: expected what \`weft token create --join --service NAME\` prints.`);
}
