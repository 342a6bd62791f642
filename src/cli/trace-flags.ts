/** Where the spans of a sidecar go, and which: flags, and the variables that OpenTelemetry's own exporters read. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { TracingOptions } from '../sidecar/options.ts';
import { parseWait } from './flag-values.ts';
import { parseRatio } from './ratio-flag.ts';
import { usageError } from './terminal.ts';

export interface TraceFlags {
  readonly otlpEndpoint?: string;
  readonly traceSample?: number;
  readonly traceSlow?: number;
}

type Environment = Readonly<Record<string, string | undefined>>;

const sampleDefault = 0.01;
const slowDefaultMs = 1_000;
const tracesPath = '/v1/traces';

export function addTraceFlags(command: Command): Command {
  return command
    .option(
      '--otlp-endpoint <url>',
      'collector of traces that takes OTLP over HTTP, such as http://127.0.0.1:4318; /v1/traces is added (environment: OTEL_EXPORTER_OTLP_ENDPOINT and others, docs/traces.md)',
      parseEndpoint,
    )
    .option(
      '--trace-sample <share>',
      'of traces that begin at this sidecar, sampled: 0 to 1, or a percentage; others are as their traceparent says (default: 1%)',
      parseRatio,
    )
    .addOption(
      new Option(
        '--trace-slow <duration>',
        'a request that took this long is exported even if it is not sampled, as failed ones are; 0s: none (default: 1s)',
      ).argParser(parseWait),
    );
}

/**
 * Null: no spans are exported, and no trace is sampled here.
 * @throws CliError (exit code 2) when a flag or variable contradicts another, or a variable is no URL.
 */
export function tracingOptionsOf(flags: TraceFlags, env: Environment): TracingOptions | null {
  const url = flags.otlpEndpoint === undefined ? urlFrom(env) : withTracesPath(flags.otlpEndpoint);
  if (url === null) {
    const named =
      flags.traceSample === undefined ? (flags.traceSlow === undefined ? null : '--trace-slow') : '--trace-sample';
    if (named !== null)
      throw usageError(`${named} says which spans are exported: say where to with --otlp-endpoint URL.`);
    return null;
  }
  return {
    url,
    headers: headersFrom(env),
    isCompressed: settingOf(env, 'COMPRESSION') === 'gzip',
    sampleRatio: flags.traceSample ?? sampleDefault,
    slowMs: flags.traceSlow ?? slowDefaultMs,
  };
}

/** The one for traces wins over the one for everything; an empty one is none. */
const settingOf = (env: Environment, name: string): string =>
  env[`OTEL_EXPORTER_OTLP_TRACES_${name}`]?.trim() || env[`OTEL_EXPORTER_OTLP_${name}`]?.trim() || '';

/** https://opentelemetry.io/docs/specs/otel/protocol/exporter/: an address for traces is used as it is, one for everything gets a path. */
function urlFrom(env: Environment): string | null {
  const isOff = env.OTEL_SDK_DISABLED?.trim().toLowerCase() === 'true' || env.OTEL_TRACES_EXPORTER?.trim() === 'none';
  // gRPC is not spoken here, and its port takes no HTTP: whoever names it means the app.
  if (isOff || !['', 'http/protobuf'].includes(settingOf(env, 'PROTOCOL'))) return null;
  const traces = env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT?.trim() ?? '';
  const all = env.OTEL_EXPORTER_OTLP_ENDPOINT?.trim() ?? '';
  if (traces !== '') return checked(traces, 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT');
  return all === '' ? null : withTracesPath(checked(all, 'OTEL_EXPORTER_OTLP_ENDPOINT'));
}

const checked = (text: string, name: string): string => {
  const fault = endpointFault(text);
  if (fault !== null) throw usageError(`${name}: ${fault}`);
  return text;
};

function withTracesPath(base: string): string {
  const url = new URL(base);
  if (!url.pathname.endsWith(tracesPath)) url.pathname = `${url.pathname.replace(/\/$/, '')}${tracesPath}`;
  return url.href;
}

function parseEndpoint(text: string): string {
  const fault = endpointFault(text);
  if (fault !== null) throw new InvalidArgumentError(fault);
  return text;
}

/** Null: it is an address to post to. */
function endpointFault(text: string): string | null {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !['http:', 'https:'].includes(url.protocol) || url.hash !== '')
    return 'Expected http://HOST:PORT or https://HOST:PORT, for instance http://127.0.0.1:4318.';
  if (url.username !== '' || url.password !== '')
    return 'A password does not belong into an address: put it into OTEL_EXPORTER_OTLP_HEADERS, as authorization=Basic%20....';
  if (url.port === '4317')
    return 'Port 4317 is for gRPC, which is not spoken here: the one for HTTP is 4318 by default.';
  return null;
}

/** `name=value,other=value`, percent-encoded. @throws CliError (exit code 2), which repeats no value. */
function headersFrom(env: Environment): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const pair of settingOf(env, 'HEADERS').split(',')) {
    if (pair.trim() === '') continue;
    const [, name = '', value = ''] = /^\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*=\s*(.*?)\s*$/.exec(pair) ?? [];
    const decoded = name === '' ? null : decode(value);
    if (decoded === null || /[^\t\x20-\x7e]/.test(decoded))
      throw usageError(
        'OTEL_EXPORTER_OTLP_HEADERS: expected NAME=VALUE, several with commas, each VALUE percent-encoded.',
      );
    headers[name.toLowerCase()] = decoded;
  }
  return headers;
}

function decode(value: string): string | null {
  try {
    return decodeURIComponent(value);
  } catch {
    return null;
  }
}
