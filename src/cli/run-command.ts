/** `weft run`: a sidecar and its app as one process. */
import { Command, Option } from 'commander';
import type { LocalAddress } from '../model/host-port.ts';
import { parseAppAddress, parsePort, parseWait } from './flag-values.ts';
import { readJoinToken } from './join-token.ts';
import type { RunFlags } from './serve-sidecar.ts';
import { addSidecarFlags, sidecarOptionsOf } from './sidecar-flags.ts';
import { type Terminal, usageError } from './terminal.ts';

export function runCommand(terminal: Terminal): Command {
  const command = new Command('run')
    .description('run an app with a sidecar around it')
    .usage('--service <name> --app-port <port> [options] -- <command> [args...]')
    .argument('<command>', 'the program to run')
    .argument('[args...]', 'its arguments')
    .passThroughOptions()
    .option('--app-port <port>', 'the port that the app will listen on, on 127.0.0.1', parsePort)
    .option(
      '--app <address>',
      'instead of --app-port: where the app will listen, for instance unix:/run/cart/app.sock',
      parseAppAddress,
    )
    .addOption(
      new Option('--ready-timeout <duration>', 'how long to wait for a first configuration; 0s: without end')
        .argParser(parseWait)
        .default(60_000, '60s'),
    )
    .addOption(
      new Option('--stop-timeout <duration>', 'how long the app may take to stop before it is killed; 0s: without end')
        .argParser(parseWait)
        .default(30_000, '30s'),
    )
    .addHelpText(
      'after',
      `
The app starts once the sidecar is ready, and finds in its environment
  WEFT_OUTBOUND   where it calls other services, for instance http://127.0.0.1:15001 or unix:/run/web.sock (name the service in Host)
  WEFT_SERVICE    the name it was given here
  PORT            the app port, unless it was set already; with --app unix:PATH nothing is set, but
  WEFT_APP_SOCKET the path, where the app is to listen
On SIGTERM, SIGINT or SIGQUIT callers are sent elsewhere and running requests finish before the app gets the signal; a second
signal skips that. (Ctrl-C in a terminal is given to the app at once, by the terminal itself.) SIGHUP, SIGUSR1 and SIGUSR2 pass through. The exit code is the app's, 128 + n when signal n ended it, 127
when there is no such program. The sidecar's ready line is on standard error.
With a control plane, others reach the app on free loopback ports (in plain HTTP, and over the link) unless --inbound or --link name
other addresses; with --state-dir a restart takes the same ports again. WEFT_JOIN_TOKEN is for the sidecar: the app does not get it.

Examples:
  weft run --service cart --app-port 8080 -- python3 -m http.server 8080
  weft run --service web --app-port 3000 --inbound 0.0.0.0:15006 -- npm start
  weft run --service web --app-port 3000 --limit inbound.body-bytes=10MiB --x-forwarded inbound=replace -- npm start
  weft run --service web --app-port 3000 --paths inbound=refuse --via outbound=on -- npm start
  weft run --service web --app-port 3000 --otlp-endpoint http://127.0.0.1:4318 --trace-sample 5% -- npm start
  weft run --service web --app unix:/run/web/app.sock --outbound unix:/run/web/out.sock -- gunicorn --bind unix:/run/web/app.sock web:app
  weft run --service pay --app-port 3000 --join-token-file pay.token -- npm start`,
    )
    .action(async (program: string, args: readonly string[], flags: RunFlags) => {
      const app = appOf(flags);
      // Whoever runs an app in the mesh means it to be called; with --config nobody is told, so nothing is opened unasked.
      const inbound = flags.inbound ?? (flags.config === undefined ? { host: '127.0.0.1', port: 0 } : undefined);
      const joinToken = await readJoinToken(flags.joinTokenFile, process.env);
      const options = sidecarOptionsOf(
        inbound === undefined ? flags : { ...flags, inbound },
        app,
        joinToken,
        process.env,
      );
      const { runWithSidecar } = await import('./serve-sidecar.ts');
      terminal.exitCode = await runWithSidecar(options, flags, [program, ...args], terminal);
    });
  return addSidecarFlags(command);
}

/** @throws CliError (exit code 2) unless exactly one of the two says it. */
function appOf({ app, appPort }: RunFlags): LocalAddress {
  if (app !== undefined && appPort !== undefined)
    throw usageError('--app-port and --app exclude each other: the app listens at one place.');
  if (app !== undefined) return app;
  if (appPort === undefined) throw usageError('Say where the app will listen: --app-port PORT, or --app unix:PATH.');
  return { host: '127.0.0.1', port: appPort };
}
