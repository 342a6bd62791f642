/** `weft control-plane`: API, store and push. */
import { Command, Option } from 'commander';
import { formatAddress, parseListenAddress } from './flag-values.ts';
import type { ControlPlaneFlags } from './serve-control-plane.ts';
import { requireLoopback } from './sidecar-flags.ts';
import { type Terminal, usageError } from './terminal.ts';

export function controlPlaneCommand(terminal: Terminal): Command {
  return new Command('control-plane')
    .description('run the control plane: API, store, push to the sidecars')
    .addOption(
      new Option('--listen <address>', 'where the REST API is served')
        .argParser(parseListenAddress)
        .default({ host: '127.0.0.1', port: 7070 }, '127.0.0.1:7070'),
    )
    .addOption(
      new Option('--push <address>', 'where sidecars connect')
        .argParser(parseListenAddress)
        .default({ host: '127.0.0.1', port: 7071 }, '127.0.0.1:7071'),
    )
    .option('--store <url>', 'where the state is kept: embedded:DIR', 'embedded:.weft/store')
    .addHelpText(
      'after',
      `
Prints one line of JSON with the addresses it bound once it is ready. Port 0 means any free port.
The API describes itself at /openapi.json.

Examples:
  weft control-plane
  weft control-plane --listen 127.0.0.1:0 --push 127.0.0.1:0 --store embedded:/var/lib/weft`,
    )
    .action(async (flags: ControlPlaneFlags) => {
      check(flags);
      const { serveControlPlane } = await import('./serve-control-plane.ts');
      terminal.exitCode = await serveControlPlane(flags, terminal);
    });
}

function check({ listen, push, store }: ControlPlaneFlags): void {
  requireLoopback('--listen', listen);
  requireLoopback('--push', push);
  if (listen.port !== 0 && formatAddress(listen) === formatAddress(push))
    throw usageError(`--listen and --push cannot both be ${formatAddress(listen)}.`);
  if (!/^embedded:.+/.test(store))
    throw usageError(`--store ${store} is not understood: this version keeps its state in embedded:DIR.`);
}
