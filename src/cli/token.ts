/** `weft token`: the tokens of people and programs for the API, and those that let a sidecar join the mesh as a Service. */
import { Command, InvalidArgumentError, Option } from 'commander';
import { isTokenName, type Role, type RoleName, roleNames, roleText, tokenNameExpected } from '../model/access.ts';
import { limits } from '../model/limits.ts';
import { type ApiToken, addClientFlags, type ClientFlags, ControlPlaneClient, type MadeApiToken } from './client.ts';
import { durationFlag } from './duration-flag.ts';
import { addEtcdFlags, type EtcdFlags } from './etcd-flags.ts';
import { parseNamespace, parseServiceName } from './flag-values.ts';
import { formatValue, type Output, type TextOutput, tableOption, textOption } from './output-flag.ts';
import { formatAge, formatTable } from './table.ts';
import { type Terminal, usageError } from './terminal.ts';

interface CreateFlags extends ClientFlags, EtcdFlags {
  readonly join?: true;
  readonly service?: { readonly name: string; readonly namespace: string };
  readonly role?: RoleName;
  readonly namespace?: readonly string[];
  readonly name?: string;
  /** Ms. */
  readonly ttl?: number | 'none';
  readonly store?: string;
  readonly output: TextOutput;
}

interface ListFlags extends ClientFlags {
  readonly output: Output;
}

const ttlBounds = '1s to 87600h, or none (a join token: 1s to 720h)';
const parseDurationFlag = durationFlag(1_000, limits.apiTokenTtlMsMax, ttlBounds);

export function tokenCommand(terminal: Terminal): Command {
  return new Command('token')
    .description('make, list and revoke tokens: for the API, and for sidecars to join')
    .addCommand(createCommand(terminal))
    .addCommand(listCommand(terminal))
    .addCommand(revokeCommand(terminal))
    .addHelpText(
      'after',
      `
Examples:
  weft token create --role admin --name alice > alice.token
  weft token create --join --service cart > cart.token
  weft token list
  weft token revoke shop-ci`,
    );
}

function createCommand(terminal: Terminal): Command {
  const command = new Command('create')
    .description('make a token and print it')
    .addOption(new Option('--role <role>', 'a token of the API, and what it allows').choices([...roleNames]))
    .option('--namespace <name>', 'where an editor may write; repeatable, or with commas', collectNamespaces)
    .option('--name <name>', 'whom the history names (default: of its role and id)', parseTokenName)
    .option(
      '--store <url>',
      'make it in the store itself, with no control plane running: embedded:DIR or etcd://HOST:PORT,... (for the first admin, or when the last is lost)',
    )
    .option('--join', 'a join token: with it a sidecar gets the first certificate of its Service')
    .option('--service <name>', 'the Service a join token is for: NAME or NAME.NAMESPACE', parseServiceName)
    .option('--ttl <duration>', `how long it is valid: ${ttlBounds} (default: 720h; a join token: 1h)`, parseTtl)
    .addOption(textOption())
    .addHelpText(
      'after',
      `
The token alone is on standard output, this once: keep it in a file that only its user can read.
Roles: reader (reads all), editor (reads all, writes in its namespaces), admin (all, tokens and certificate authority too).
The first API token must be an admin; from then on every request to the API needs one (--token-file, WEFT_TOKEN).

Whoever has a join token may join as its Service, as often as they like, until it expires. It names the root that the sidecar
trusts at first contact. Once a first join token was made, no sidecar gets a certificate without one.

Examples:
  weft token create --role admin --name alice > alice.token
  weft token create --role editor --namespace shop --name shop-ci --ttl 720h --token-file alice.token
  weft token create --role admin --store embedded:/var/lib/weft/store > admin.token
  weft token create --join --service cart.shop --ttl 10m > cart.token
  weft sidecar --service cart.shop --app 127.0.0.1:8080 --join-token-file cart.token`,
    )
    .action(async (flags: CreateFlags) => {
      if (flags.join === undefined && flags.role === undefined)
        throw usageError(
          `Say what kind of token: --role ${roleNames.join(', ')} for the API, or --join for a sidecar of a Service.`,
        );
      if (flags.join === undefined) await createApiToken(flags, terminal);
      else await createJoinToken(flags, terminal);
    });
  return addClientFlags(addEtcdFlags(command));
}

async function createJoinToken(flags: CreateFlags, terminal: Terminal): Promise<void> {
  const { service, ttl = limits.joinTokenTtlMs, output } = flags;
  if (
    flags.role !== undefined ||
    flags.namespace !== undefined ||
    flags.name !== undefined ||
    flags.store !== undefined
  )
    throw usageError('--role, --namespace, --name and --store are for a token of the API, not for --join.');
  if (service === undefined) throw usageError('--join makes a token for a Service: name it with --service NAME.');
  if (ttl === 'none' || ttl > limits.joinTokenTtlMsMax)
    throw usageError('A join token is valid for 1s to 720h: say so with --ttl.');
  const made = await new ControlPlaneClient(flags).createJoinToken(service.name, service.namespace, ttl / 1000);
  if (output !== 'text') return terminal.out(await formatValue(made, output));
  terminal.out(made.token);
  terminal.err(`for ${made.spiffeId}, valid until ${made.expiresAt}`);
}

async function createApiToken(flags: CreateFlags, terminal: Terminal): Promise<void> {
  if (flags.service !== undefined) throw usageError('--service is for a join token (--join).');
  const role = roleOf(flags);
  const { name, output, store, ttl = limits.apiTokenTtlMs } = flags;
  const ttlMs = ttl === 'none' ? null : ttl;
  const made =
    store === undefined
      ? await new ControlPlaneClient(flags).createToken({
          role: role.tag,
          ...(role.tag === 'editor' ? { namespaces: role.namespaces } : {}),
          ...(name === undefined ? {} : { name }),
          ttlSeconds: ttlMs === null ? null : ttlMs / 1000,
        })
      : await (await import('./token-in-store.ts')).createTokenInStore(store, flags, {
          role,
          name: name ?? null,
          ttlMs,
        });
  if (output !== 'text') return terminal.out(await formatValue(made, output));
  terminal.out(made.token);
  terminal.err(`token ${made.name}, ${describeRole(made)}, ${endText(made)}`);
}

function roleOf({ role, namespace = [] }: CreateFlags): Role {
  if (role !== 'editor') {
    if (namespace.length > 0) throw usageError(`--namespace is for an editor: a ${role} has all of them.`);
    return { tag: role! };
  }
  if (namespace.length === 0) throw usageError('An editor needs --namespace NAME: where the token may write.');
  if (namespace.length > limits.editorNamespacesMax)
    throw usageError(`A token is for ${limits.editorNamespacesMax} namespaces at most.`);
  return { tag: role, namespaces: namespace };
}

function listCommand(terminal: Terminal): Command {
  const command = new Command('list')
    .description('show the tokens of the API, without what is secret of them')
    .addOption(tableOption())
    .addHelpText(
      'after',
      `
USED is when this control plane was shown the token last, since its start. Join tokens are kept nowhere, and are not listed.

Examples:
  weft token list
  weft token list -o json`,
    )
    .action(async ({ output, ...flags }: ListFlags) => {
      const tokens = await new ControlPlaneClient(flags).tokens();
      if (output !== 'table') return terminal.out(await formatValue(tokens, output));
      terminal.out(tokens.length === 0 ? 'no tokens' : tokenTable(tokens, terminal.nowMs()));
    });
  return addClientFlags(command);
}

function revokeCommand(terminal: Terminal): Command {
  const command = new Command('revoke')
    .description('revoke a token of the API, at once')
    .argument('<name>', 'its name or its id')
    .addHelpText(
      'after',
      `
Who watches with it is cut within 15 s. The last admin cannot be revoked: make the next one first.
Join tokens cannot be revoked: they expire, and \`weft ca rotate\` voids them.

Examples:
  weft token revoke shop-ci
  weft token revoke 3f2a91c04b7d`,
    )
    .action(async (name: string, flags: ClientFlags) => {
      await new ControlPlaneClient(flags).revokeToken(name);
      terminal.out(`token ${name} revoked`);
    });
  return addClientFlags(command);
}

function tokenTable(tokens: readonly ApiToken[], nowMs: number): string {
  const age = (time: string | null) => (time === null ? '-' : `${formatAge(nowMs - Date.parse(time))} ago`);
  return formatTable(
    ['NAME', 'ID', 'ROLE', 'EXPIRES', 'USED', 'MADE', 'BY'],
    tokens.map((token) => [
      token.name,
      token.id,
      describeRole(token),
      token.expiresAt === null ? 'never' : Date.parse(token.expiresAt) <= nowMs ? 'EXPIRED' : token.expiresAt,
      age(token.lastUsedAt),
      age(token.createdAt),
      token.createdBy,
    ]),
  );
}

const describeRole = ({ role, namespaces }: Pick<ApiToken, 'role' | 'namespaces'>): string =>
  roleText(role === 'editor' ? { tag: role, namespaces } : { tag: role });

const endText = ({ expiresAt }: MadeApiToken): string =>
  expiresAt === null ? 'valid until it is revoked' : `valid until ${expiresAt}`;

function collectNamespaces(text: string, earlier: readonly string[] = []): readonly string[] {
  return [...new Set([...earlier, ...text.split(',').map((name) => parseNamespace(name.trim()))])];
}

function parseTokenName(text: string): string {
  if (!isTokenName(text)) throw new InvalidArgumentError(`Expected ${tokenNameExpected}.`);
  return text;
}

const parseTtl = (text: string): number | 'none' => (text === 'none' ? text : parseDurationFlag(text));
