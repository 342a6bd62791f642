/** `--access-log` and what goes with it: which requests have a line, and what is in it. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { limits } from '../model/limits.ts';
import type { AccessLogPolicy } from '../telemetry/access-log.ts';
import { patternFault } from '../telemetry/path-redaction.ts';
import { parseWait } from './flag-values.ts';
import { parseRatio } from './ratio-flag.ts';
import { usageError } from './terminal.ts';

export interface AccessLogFlags {
  readonly accessLog?: true;
  readonly accessLogSample?: number;
  readonly accessLogSlow?: number;
  readonly accessLogRate?: number;
  readonly accessLogHeader?: readonly string[];
  readonly redactPath?: readonly string[];
}

const slowDefaultMs = 1_000;
const rateMax = 1_000_000;
/** What they hold lets whoever reads the log be somebody else. */
const secretHeaders: ReadonlySet<string> = new Set(
  'authorization proxy-authorization cookie set-cookie x-api-key x-auth-token x-csrf-token'.split(' '),
);

export function addAccessLogFlags(command: Command): Command {
  return command
    .option('--access-log', 'one line of JSON per request on standard error (docs/traces.md)')
    .option(
      '--access-log-sample <share>',
      'only of this share of requests, 0 to 1 or a percentage, chosen by trace id; failed and slow ones always',
      parseRatio,
    )
    .addOption(
      new Option(
        '--access-log-slow <duration>',
        'what is slow for --access-log-sample; 0s: nothing (default: 1s)',
      ).argParser(parseWait),
    )
    .option('--access-log-rate <lines>', 'at most so many lines a second of each event loop', parseRate)
    .option(
      '--access-log-header <name>',
      'log this field of requests, too; repeatable; fields that carry credentials are refused',
      collectHeader,
    )
    .option(
      '--redact-path <pattern>',
      'paths that begin so are logged and exported with * for the segments at its *: /users/*/cards, /reset/**; repeatable',
      collectPattern,
    );
}

/**
 * Null: there is no access log.
 * @throws CliError (exit code 2) when one of its flags is given without it.
 */
export function accessLogPolicyOf(flags: AccessLogFlags): AccessLogPolicy | null {
  const { accessLogSample, accessLogSlow, accessLogRate, accessLogHeader } = flags;
  if (flags.accessLog !== true) {
    const given = { sample: accessLogSample, slow: accessLogSlow, rate: accessLogRate, header: accessLogHeader };
    const named = Object.entries(given).find(([, value]) => value !== undefined);
    if (named !== undefined)
      throw usageError(`--access-log-${named[0]} changes the access log: it needs --access-log.`);
    return null;
  }
  return {
    sampleRatio: accessLogSample ?? 1,
    slowMs: accessLogSlow ?? slowDefaultMs,
    linesPerSecondMax: accessLogRate ?? 0,
    headers: accessLogHeader ?? [],
  };
}

function parseRate(text: string): number {
  const lines = /^[0-9]{1,7}$/.test(text) ? Number(text) : 0;
  if (lines < 1 || lines > rateMax) throw new InvalidArgumentError(`Expected 1 to ${rateMax} lines a second.`);
  return lines;
}

function collectHeader(text: string, earlier: readonly string[] = []): readonly string[] {
  const name = text.toLowerCase();
  if (!/^[!#$%&'*+.^_`|~0-9a-z-]{1,64}$/.test(name))
    throw new InvalidArgumentError('Expected the name of a header field, such as user-agent.');
  if (secretHeaders.has(name))
    throw new InvalidArgumentError(`${name} carries credentials: whoever reads the log could use them.`);
  if (earlier.includes(name)) throw new InvalidArgumentError(`${name} is named twice.`);
  if (earlier.length === limits.loggedHeadersMax)
    throw new InvalidArgumentError(`Expected at most ${limits.loggedHeadersMax} names.`);
  return [...earlier, name];
}

function collectPattern(text: string, earlier: readonly string[] = []): readonly string[] {
  if (text.length > limits.redactedPathCharsMax)
    throw new InvalidArgumentError(`Expected at most ${limits.redactedPathCharsMax} characters.`);
  const fault = patternFault(text);
  if (fault !== null)
    throw new InvalidArgumentError(`Expected a pattern such as /users/*/cards or /reset/**. ${fault}`);
  if (earlier.length === limits.redactedPathsMax)
    throw new InvalidArgumentError(`Expected at most ${limits.redactedPathsMax} patterns.`);
  return [...earlier, text];
}
