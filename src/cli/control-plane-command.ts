/** `weft control-plane`: API, store, push and certificate authority. */
import { Command, InvalidArgumentError, Option } from 'commander';
import { isTrustDomain } from '../model/identity.ts';
import { limits } from '../model/limits.ts';
import { durationFlag } from './duration-flag.ts';
import { addEtcdFlags, checkStoreUrl } from './etcd-flags.ts';
import { formatAddress, parseListenAddress } from './flag-values.ts';
import type { ControlPlaneFlags } from './serve-control-plane.ts';
import { requireLoopback } from './sidecar-flags.ts';
import { type Terminal, usageError } from './terminal.ts';

export function controlPlaneCommand(terminal: Terminal): Command {
  const command = new Command('control-plane')
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
    .option(
      '--store <url>',
      'where the state is kept: embedded:DIR, or etcd://[USER@]HOST:PORT,...[/PREFIX] for several control planes of one mesh; etcds:// is TLS',
      'embedded:.weft/store',
    )
    .option(
      '--ca-dir <folder>',
      "where the certificate authority's root.key and root.crt are, or are made (default: ca beside the store's folder, with etcd .weft/ca)",
    )
    .addOption(
      new Option('--trust-domain <name>', 'first part of every identity: spiffe://NAME/ns/NAMESPACE/sa/SERVICE')
        .argParser(parseTrustDomain)
        .default('weft.local'),
    )
    .addOption(
      new Option(
        '--certificate-ttl <duration>',
        "how long a sidecar's certificate lives; it is renewed at half of that",
      )
        .argParser(durationFlag(limits.certificateTtlMsMin, limits.certificateTtlMsMax, '10s to 168h'))
        .default(limits.certificateTtlMs, '1h'),
    )
    .addHelpText(
      'after',
      `
Prints one line of JSON with the addresses it bound once it is ready. Port 0 means any free port.
The API describes itself at /openapi.json. Its port speaks TLS too, with a certificate of the mesh's own root.
Who has root.key can act as any Service: it is kept with mode 600, and a key that others may read is refused.
On etcd each control plane has a --ca-dir of its own; all serve reads, writes and sidecars, and any of them may end (docs/store.md).

Examples:
  weft control-plane
  weft control-plane --listen 127.0.0.1:0 --push 127.0.0.1:0 --store embedded:/var/lib/weft/store
  weft control-plane --store etcd://10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379
  weft control-plane --store etcds://weft@etcd.example.org:2379/mesh-a --etcd-ca ca.crt --etcd-password-file etcd.password
  weft control-plane --ca-dir /etc/weft/ca --trust-domain mesh.example.org --certificate-ttl 24h`,
    )
    .action(async (flags: ControlPlaneFlags) => {
      check(flags);
      const { serveControlPlane } = await import('./serve-control-plane.ts');
      terminal.exitCode = await serveControlPlane(flags, terminal);
    });
  return addEtcdFlags(command);
}

function parseTrustDomain(text: string): string {
  if (!isTrustDomain(text))
    throw new InvalidArgumentError(
      'Expected lower-case letters, digits, ".", "-" and "_", for instance mesh.example.org.',
    );
  return text;
}

function check({ listen, push, store }: ControlPlaneFlags): void {
  requireLoopback('--listen', listen);
  requireLoopback('--push', push);
  if (listen.port !== 0 && formatAddress(listen) === formatAddress(push))
    throw usageError(`--listen and --push cannot both be ${formatAddress(listen)}.`);
  checkStoreUrl('--store', store);
}
