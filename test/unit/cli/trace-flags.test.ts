/** Flags and variables that say where spans go, and what the access log has. */
import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { type AccessLogFlags, accessLogPolicyOf, addAccessLogFlags } from '../../../src/cli/access-log-flags.ts';
import { addTraceFlags, type TraceFlags, tracingOptionsOf } from '../../../src/cli/trace-flags.ts';

type Flags = AccessLogFlags & TraceFlags;

function flagsOf(...args: readonly string[]): Flags {
  const command = addTraceFlags(addAccessLogFlags(new Command('x')))
    .exitOverride()
    .configureOutput({ writeErr: () => {} });
  return command.parse(args, { from: 'user' }).opts<Flags>();
}
const tracing = (args: readonly string[], env: Record<string, string> = {}) => tracingOptionsOf(flagsOf(...args), env);

describe('flags of the access log', () => {
  it.each([
    [['--access-log-sample', '1.1'], /share of 0 to 1/],
    [['--access-log-sample', '101%'], /share of 0 to 1/],
    [['--access-log-sample', '-1'], /share of 0 to 1/],
    [['--access-log-sample', ''], /share of 0 to 1/],
    [['--access-log-rate', '0'], /lines a second/],
    [['--access-log-rate', '1e3'], /lines a second/],
    [['--access-log-header', 'no spaces'], /name of a header field/],
    [['--access-log-header', 'Authorization'], /credentials/],
    [['--access-log-header', 'Cookie'], /credentials/],
    [['--access-log-header', 'a', '--access-log-header', 'A'], /twice/],
    [Array.from({ length: 17 }, (_, i) => ['--access-log-header', `h${i}`]).flat(), /at most 16/],
    [['--redact-path', '/users'], /segment \*/],
    [['--redact-path', `/${'x'.repeat(300)}/*`], /256 characters/],
    [Array.from({ length: 65 }, (_, i) => ['--redact-path', `/${i}/*`]).flat(), /at most 64/],
  ])('%j are refused in words', (args, why) => {
    expect(() => flagsOf(...args)).toThrow(why);
  });

  it.each(['sample=5%', 'slow=1s', 'rate=5', 'header=x'])('are of no use without it: %s', (flag) => {
    const [name = '', value = ''] = flag.split('=');
    expect(() => accessLogPolicyOf(flagsOf(`--access-log-${name}`, value))).toThrow(
      `--access-log-${name} changes the access log`,
    );
  });

  it('say everything that can be said', () => {
    expect(accessLogPolicyOf(flagsOf())).toBeNull();
    const args =
      '--access-log --access-log-sample 2.5% --access-log-slow 250ms --access-log-rate 100 --access-log-header User-Agent --access-log-header x-b';
    expect(accessLogPolicyOf(flagsOf(...args.split(' ')))).toEqual({
      sampleRatio: 0.025,
      slowMs: 250,
      linesPerSecondMax: 100,
      headers: ['user-agent', 'x-b'],
    });
    expect(flagsOf('--redact-path', '/a/*', '--redact-path', '/b/**').redactPath).toEqual(['/a/*', '/b/**']);
  });
});

describe('where spans go', () => {
  it.each([
    ['127.0.0.1:4318', /http:\/\/HOST:PORT/],
    ['grpc://127.0.0.1:4317', /http:\/\/HOST:PORT/],
    ['http://127.0.0.1:4317', /gRPC/],
    ['http://user:pass@127.0.0.1:4318', /OTEL_EXPORTER_OTLP_HEADERS/],
    ['http://127.0.0.1:4318/#x', /http:\/\/HOST:PORT/],
  ])('is not %s', (url, why) => {
    expect(() => tracing(['--otlp-endpoint', url])).toThrow(why);
    expect(() => tracing([], { OTEL_EXPORTER_OTLP_ENDPOINT: url })).toThrow(why);
  });

  it('is nowhere unless somebody says so, and then nothing else may be said of spans', () => {
    expect(tracing([])).toBeNull();
    expect(tracing([], { OTEL_EXPORTER_OTLP_ENDPOINT: ' ' })).toBeNull();
    expect(() => tracing(['--trace-sample', '1'])).toThrow('--trace-sample says which spans are exported');
    expect(() => tracing(['--trace-slow', '1s'])).toThrow('--trace-slow says which spans are exported');
  });

  it.each([
    ['http://127.0.0.1:4318', 'http://127.0.0.1:4318/v1/traces'],
    ['http://127.0.0.1:4318/', 'http://127.0.0.1:4318/v1/traces'],
    ['https://otel.example/otlp', 'https://otel.example/otlp/v1/traces'],
    ['https://otel.example/otlp/v1/traces', 'https://otel.example/otlp/v1/traces'],
  ])('is, for %s, %s', (endpoint, url) => {
    expect(tracing(['--otlp-endpoint', endpoint])?.url).toBe(url);
    expect(tracing([], { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint })?.url).toBe(url);
  });

  it.each<[what: string, env: Record<string, string>, url: string | undefined]>([
    ['as it is, where it is for traces', { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://a:4318/x' }, 'http://a:4318/x'],
    [
      'the one for traces, of two',
      { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://b:4318', OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://a:4318/x' },
      'http://a:4318/x',
    ],
    [
      'nowhere, for an app that speaks gRPC',
      { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://b:9', OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' },
      undefined,
    ],
    [
      'somewhere, where traces alone are spoken over HTTP',
      {
        OTEL_EXPORTER_OTLP_ENDPOINT: 'http://b:9',
        OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
        OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'http/protobuf',
      },
      'http://b:9/v1/traces',
    ],
    ['nowhere, where all is off', { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://b:9', OTEL_SDK_DISABLED: 'TRUE' }, undefined],
    [
      'nowhere, where traces are',
      { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://b:9', OTEL_TRACES_EXPORTER: 'none' },
      undefined,
    ],
  ])('is %s', (_what, env, url) => {
    expect(tracing([], env)?.url).toBe(url);
  });

  it('is what the flag says, with the headers and the compression of the environment', () => {
    const env = {
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://b:9',
      OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
      OTEL_EXPORTER_OTLP_HEADERS: 'Authorization=Bearer%20t%3D, x-tenant = a ,',
      OTEL_EXPORTER_OTLP_COMPRESSION: 'gzip',
    };
    expect(tracing(['--otlp-endpoint', 'http://a:1', '--trace-sample', '0.5', '--trace-slow', '0s'], env)).toEqual({
      url: 'http://a:1/v1/traces',
      headers: { authorization: 'Bearer t=', 'x-tenant': 'a' },
      isCompressed: true,
      sampleRatio: 0.5,
      slowMs: 0,
    });
    expect(tracing(['--otlp-endpoint', 'http://a:1'])).toMatchObject({
      headers: {},
      isCompressed: false,
      sampleRatio: 0.01,
      slowMs: 1_000,
    });
  });

  it.each(['secret', '=secret', 'a b=secret', 'x=%zzsecret', 'x=secret%0a'])(
    'has no headers such as %s, which are not repeated',
    (headers) => {
      const run = () => tracing(['--otlp-endpoint', 'http://a:1'], { OTEL_EXPORTER_OTLP_HEADERS: headers });
      expect(run).toThrow(/OTEL_EXPORTER_OTLP_HEADERS/);
      expect(run).not.toThrow(/secret/);
    },
  );
});
