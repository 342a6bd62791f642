/** The API token that a command shows: of a flag, a file or the environment. Its text is repeated in no message. */
import { readFileSync } from 'node:fs';
import { usageError } from './terminal.ts';

const tokenPattern = /^[\x21-\x7e]{0,4096}$/;
const fileBytesMax = 8 * 1024;

export interface TokenSources {
  readonly token?: string;
  readonly tokenFile?: string;
}

/**
 * A flag wins over WEFT_TOKEN; an empty token is none (undefined).
 * @throws CliError (exit code 2) when both flags are given, when the file cannot be read, or when what is there cannot be a token.
 */
export function apiTokenOf(
  { token, tokenFile }: TokenSources,
  env: Readonly<Record<string, string | undefined>>,
): string | undefined {
  if (token !== undefined && tokenFile !== undefined)
    throw usageError('--token and --token-file exclude each other: the token comes from one place.');
  if (tokenFile !== undefined) return checked(readTokenFile(tokenFile), `--token-file ${tokenFile}`);
  return checked(token ?? env.WEFT_TOKEN ?? '', '--token or WEFT_TOKEN');
}

function checked(text: string, from: string): string | undefined {
  // Checked here and not as a flag: commander would repeat the value in its message.
  if (!tokenPattern.test(text))
    throw usageError(`The token (${from}) is not usable: expected at most 4096 visible ASCII characters.`);
  return text === '' ? undefined : text;
}

function readTokenFile(path: string): string {
  if (/^weft_[0-9a-f]{12}_/.test(path))
    throw usageError(
      'The value of --token-file looks like the token itself: put it into a file, or into WEFT_TOKEN. (Whoever sees the command line has it now: revoke it if that is not only you.)',
    );
  let text: string;
  try {
    text = readFileSync(path, 'latin1');
  } catch (cause) {
    throw usageError(`--token-file ${path} cannot be read: ${(cause as Error).message}.`);
  }
  if (text.length > fileBytesMax) throw usageError(`--token-file ${path} is too long to hold a token.`);
  return text.trim();
}
