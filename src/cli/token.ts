/** `weft token`: makes the tokens that let a sidecar join the mesh as a Service. */
import { Command, Option } from 'commander';
import { limits } from '../model/limits.ts';
import { addClientFlags, type ClientFlags, ControlPlaneClient } from './client.ts';
import { durationFlag } from './duration-flag.ts';
import { parseServiceName } from './flag-values.ts';
import { formatValue, type TextOutput, textOption } from './output-flag.ts';
import { type Terminal, usageError } from './terminal.ts';

interface TokenFlags extends ClientFlags {
  readonly join?: true;
  readonly service: { readonly name: string; readonly namespace: string };
  /** Ms. */
  readonly ttl: number;
  readonly output: TextOutput;
}

export function tokenCommand(terminal: Terminal): Command {
  return new Command('token').description('make tokens for sidecars').addCommand(createCommand(terminal));
}

function createCommand(terminal: Terminal): Command {
  const command = new Command('create')
    .description('make a token and print it')
    .option('--join', 'a join token: with it a sidecar gets the first certificate of its Service')
    .requiredOption('--service <name>', 'the Service it is for: NAME or NAME.NAMESPACE', parseServiceName)
    .addOption(
      new Option('--ttl <duration>', 'how long it is valid')
        .argParser(durationFlag(1_000, limits.joinTokenTtlMsMax, '1s to 720h'))
        .default(limits.joinTokenTtlMs, '1h'),
    )
    .addOption(textOption())
    .addHelpText(
      'after',
      `
The token alone is on standard output. Whoever has it may join as this Service, as often as they like, until it expires:
keep it in a file that only the sidecar can read. It names the root that the sidecar trusts at first contact.
Once a first join token was made, no sidecar gets a certificate without one.

Examples:
  weft token create --join --service cart > cart.token
  weft token create --join --service cart.shop --ttl 10m
  weft sidecar --service cart --app 127.0.0.1:8080 --join-token-file cart.token`,
    )
    .action(async ({ join, service, ttl, output, ...flags }: TokenFlags) => {
      if (join === undefined) throw usageError('Say what kind of token: --join is the one there is.');
      const made = await new ControlPlaneClient(flags).createJoinToken(service.name, service.namespace, ttl / 1000);
      if (output !== 'text') return terminal.out(await formatValue(made, output));
      terminal.out(made.token);
      terminal.err(`for ${made.spiffeId}, valid until ${made.expiresAt}`);
    });
  return addClientFlags(command);
}
