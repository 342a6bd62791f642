/** `weft ca`: the certificate authority of the mesh, and how its root is replaced. */
import { Command, Option } from 'commander';
import { limits } from '../model/limits.ts';
import { type AuthorityStatus, addClientFlags, type ClientFlags, ControlPlaneClient, RefusedError } from './client.ts';
import { parseWait } from './flag-values.ts';
import { formatValue, type Output, tableOption } from './output-flag.ts';
import { countOf, formatTable } from './table.ts';
import { CliError, type Terminal } from './terminal.ts';

interface OutputFlags extends ClientFlags {
  readonly output: Output;
}

interface RotateFlags extends OutputFlags {
  /** Ms. */
  readonly timeout: number;
}

const progressMs = 500;
const namesShownMax = 5;
const fingerprintChars = 12;

export function caCommand(terminal: Terminal): Command {
  return new Command('ca')
    .description('show and rotate the certificate authority')
    .addCommand(statusCommand(terminal))
    .addCommand(rotateCommand(terminal))
    .addHelpText(
      'after',
      `
Examples:
  weft ca status
  weft ca rotate --timeout 5m`,
    );
}

function statusCommand(terminal: Terminal): Command {
  const command = new Command('status')
    .description('show the roots that the mesh believes, and which one signs')
    .addOption(tableOption())
    .addHelpText(
      'after',
      `
States: signing (certificates are signed with it), joining (it signs once all sidecars have acknowledged it), believed (another
control plane's), leaving (it goes by itself at the time that is shown, when all that it signed has expired).

Examples:
  weft ca status
  weft ca status -o json`,
    )
    .action(async ({ output, ...flags }: OutputFlags) => {
      const status = await new ControlPlaneClient(flags).authority();
      terminal.out(output === 'table' ? describe(status) : await formatValue(status, output));
    });
  return addClientFlags(command);
}

function rotateCommand(terminal: Terminal): Command {
  const command = new Command('rotate')
    .description('sign with a new root, once all sidecars have acknowledged it')
    .addOption(
      new Option('--timeout <duration>', 'how long to wait for the sidecars')
        .argParser(parseWait)
        .default(limits.waitAppliedMs, '30s'),
    )
    .addOption(tableOption())
    .addHelpText(
      'after',
      `
No request fails and no connection is dropped: both roots are believed until all that the old one signed has expired.
When sidecars do not answer in time nothing is signed with the new root yet, and the same command goes on.
Join tokens of the old root are void: make new ones afterwards. Sidecars that have a certificate need none.

Examples:
  weft ca rotate
  weft ca rotate --timeout 5m`,
    )
    .action(async ({ output, timeout, ...flags }: RotateFlags) => {
      const client = new ControlPlaneClient(flags);
      const status = await rotate(client, timeout, terminal);
      if (status.requiresJoinToken)
        terminal.err('Join tokens that were made before are void: make new ones with weft token create --join.');
      if (output !== 'table') return terminal.out(await formatValue(status, output));
      terminal.out(`certificates are signed with ${status.signing?.slice(0, fingerprintChars)} now\n`);
      terminal.out(describe(status));
    });
  return addClientFlags(command);
}

/** Says on standard error whom it waits for, whenever that changes. */
async function rotate(client: ControlPlaneClient, timeoutMs: number, terminal: Terminal): Promise<AuthorityStatus> {
  let isOver = false;
  let wake = () => {};
  const over = new Promise<void>((resolve) => {
    wake = resolve;
  });
  const follow = async () => {
    for (let said = ''; !isOver; ) {
      // What cannot be asked now is said by the rotation itself.
      const waitingFor = (await client.authority().catch(() => null))?.waitingFor ?? [];
      const line = waitingFor.length === 0 ? '' : `waiting for ${namesOf(waitingFor)}`;
      if (line !== said && line !== '' && !isOver) terminal.err(line);
      said = line;
      await withPause(over);
    }
  };
  const following = follow();
  try {
    return await client.rotateAuthority(timeoutMs);
  } catch (error) {
    throw error instanceof RefusedError && error.refusal.code === 'not-applied' ? notAcknowledged(error) : error;
  } finally {
    isOver = true;
    wake();
    await following;
  }
}

/** Ends early when the rotation is over. */
async function withPause(over: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const pause = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, progressMs);
  });
  await Promise.race([over, pause]);
  clearTimeout(timer);
}

function notAcknowledged({ message, refusal }: RefusedError): CliError {
  const lines = [
    ...(refusal.refused ?? []).map((each) => `  ${nameOf(each)} refused it: ${each.reason}`),
    ...(refusal.missing ?? []).map((each) => `  ${nameOf(each)} has not answered`),
  ];
  return new CliError([message, ...lines].join('\n'));
}

function describe({
  trustDomain,
  certificateTtlSeconds,
  requiresJoinToken,
  roots,
  waitingFor,
  signing,
}: AuthorityStatus) {
  const lines = [
    `trust domain ${trustDomain}, certificates live ${certificateTtlSeconds} s, ${
      requiresJoinToken ? 'sidecars need a join token' : 'no join token was made yet: sidecars need none'
    }`,
  ];
  if (signing === null) lines.push('no certificates are signed now');
  else lines.push(`clients on other machines: --ca sha256:${signing}`);
  if (waitingFor.length > 0) lines.push(`waiting for ${namesOf(waitingFor)}`);
  const joining = waitingFor.length > 0 ? roots.at(-1) : undefined;
  const stateOf = (root: AuthorityStatus['roots'][number]) => {
    if (root.isSigning) return 'signing';
    if (root.retiresAt !== null) return 'leaving';
    return root === joining ? 'joining' : 'believed';
  };
  const table = formatTable(
    ['ROOT', 'STATE', 'SUBJECT', 'SINCE', 'LEAVES', 'EXPIRES'],
    roots.map((root) => [
      root.sha256.slice(0, fingerprintChars),
      stateOf(root),
      root.subject,
      root.addedAt,
      root.retiresAt ?? '-',
      root.notAfter,
    ]),
  );
  return `${lines.join('\n')}\n\n${table}`;
}

function namesOf(sidecars: AuthorityStatus['waitingFor']): string {
  const names = sidecars.slice(0, namesShownMax).map(nameOf).join(', ');
  const more = sidecars.length > namesShownMax ? ` and ${sidecars.length - namesShownMax} more` : '';
  return `${countOf(sidecars.length, 'sidecar')}: ${names}${more}`;
}

const nameOf = ({ service, namespace, sidecar }: AuthorityStatus['waitingFor'][number]): string =>
  `${service}.${namespace} (${sidecar})`;
