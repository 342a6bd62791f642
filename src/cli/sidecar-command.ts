/** `weft sidecar`: the proxy beside one instance of a service. */
import { Command } from 'commander';
import type { LocalAddress } from '../model/host-port.ts';
import { parseAppAddress } from './flag-values.ts';
import { readJoinToken } from './join-token.ts';
import { addSidecarFlags, type SidecarFlags, sidecarOptionsOf } from './sidecar-flags.ts';
import type { Terminal } from './terminal.ts';

/** What a drain may take beyond its own timeout: closing listeners, telling the control plane. */
const closeMs = 5_000;

export function sidecarCommand(terminal: Terminal): Command {
  const command = new Command('sidecar')
    .description('run the proxy beside one instance of a service')
    .option('--app <address>', 'where the app listens: 127.0.0.1:8080, or unix:PATH', parseAppAddress)
    .addHelpText(
      'after',
      `
Prints one line of JSON with the addresses it bound once it is ready, which is when a first configuration is in force.
Without one it stays up, answers 503 no-configuration, and keeps asking. Port 0 means any free port.
With unix:PATH app and sidecar meet at a unix socket, whose file says who may connect; one that a killed sidecar left is replaced.

Sidecars call each other over the link: one connection, encrypted, both sides with a certificate for their service. The control
plane issues it; it asks for a join token once a first one was made, or when it can be reached from other machines.

Examples:
  weft sidecar --service cart --app 127.0.0.1:8080 --inbound 0.0.0.0:15006
  weft sidecar --service cart --app 127.0.0.1:8080 --link 0.0.0.0:15008 --advertise 10.0.0.7 --join-token-file cart.token
  weft sidecar --service cart --app 127.0.0.1:8080 --link 127.0.0.1:15008 --config mesh.yaml --identity-dir /run/cart
  weft sidecar --service web --outbound 127.0.0.1:0 --admin 127.0.0.1:0 --config mesh.yaml
  weft sidecar --service cart --app 127.0.0.1:8080 --inbound 0.0.0.0:15006 --limit inbound.body-bytes=10MiB --x-forwarded inbound=replace
  weft sidecar --service cart --app 127.0.0.1:8080 --inbound 0.0.0.0:15006 --paths inbound=refuse --via outbound=on
  weft sidecar --service cart --app unix:/run/cart/app.sock --outbound unix:/run/cart/out.sock --outbound-mode 660 --inbound 0.0.0.0:15006
  weft sidecar --service cart --app 127.0.0.1:8080 --inbound 0.0.0.0:15006 --otlp-endpoint http://127.0.0.1:4318 --trace-sample 5%
  weft sidecar --service cart --app 127.0.0.1:8080 --inbound 0.0.0.0:15006 --access-log --access-log-sample 1% --redact-path '/reset/*'
  weft sidecar --service web --upstream cart=127.0.0.1:9101 --state-dir /var/lib/weft`,
    )
    .action(async (flags: SidecarFlags & { readonly app?: LocalAddress }) => {
      const joinToken = await readJoinToken(flags.joinTokenFile, process.env);
      const options = sidecarOptionsOf(flags, flags.app ?? null, joinToken, process.env);
      const { serveSidecar } = await import('./serve-sidecar.ts');
      terminal.exitCode = await serveSidecar(options, options.drainMs + closeMs, terminal);
    });
  return addSidecarFlags(command);
}
