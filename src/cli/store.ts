/** `weft store`: carries the state of a mesh from one store to another. */
import { Command } from 'commander';
import { EtcdFailure } from '../control/store/etcd-calls.ts';
import { StoreError } from '../control/store/store-error.ts';
import { addEtcdFlags, checkStoreUrl, type EtcdFlags, readEtcdAccess } from './etcd-flags.ts';
import { countOf } from './table.ts';
import { CliError, type Terminal, usageError } from './terminal.ts';

interface MigrateFlags extends EtcdFlags {
  readonly from: string;
  readonly to: string;
  readonly dryRun?: true;
}

/** A line of progress after so many revisions. */
const progressRevisions = 1_000;

export function storeCommand(terminal: Terminal): Command {
  return new Command('store')
    .description('move the state of a mesh')
    .addCommand(migrateCommand(terminal))
    .addHelpText(
      'after',
      `
Examples:
  weft store migrate --from embedded:.weft/store --to etcd://10.0.0.1:2379 --dry-run
  weft store migrate --from embedded:.weft/store --to etcd://10.0.0.1:2379`,
    );
}

function migrateCommand(terminal: Terminal): Command {
  const command = new Command('migrate')
    .description('copy a store to another place, with its history and its revision numbers')
    .requiredOption('--from <url>', 'the store: embedded:DIR or etcd://HOST:PORT,...')
    .requiredOption('--to <url>', 'where to, likewise; nothing may be there yet')
    .option('--dry-run', 'look whether it can be done, and write nothing');
  addEtcdFlags(command);
  return command
    .addHelpText(
      'after',
      `
Stop every control plane of both stores first; it is refused otherwise. Sidecars go on with what they have meanwhile,
and register again with the control plane that is started on the new store. The source stays as it is.
The certificate authority's folder (--ca-dir) is no part of a store: give it to the new control plane as it is.

Examples:
  weft store migrate --from embedded:.weft/store --to etcd://10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379 --dry-run
  weft store migrate --from embedded:.weft/store --to etcd://10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379
  weft store migrate --from etcd://10.0.0.1:2379 --to embedded:/var/lib/weft/store`,
    )
    .action((flags: MigrateFlags) => migrate(flags, terminal));
}

async function migrate({ from, to, dryRun, ...flags }: MigrateFlags, terminal: Terminal): Promise<void> {
  checkStoreUrl('--from', from);
  checkStoreUrl('--to', to);
  if (from === to) throw usageError('--from and --to are the same store.');
  const etcdAccess = await readEtcdAccess(flags, [from, to], process.env);
  const { migrateStore } = await import('../control/store/migrate.ts');
  const isDryRun = dryRun === true;
  try {
    const { revision, objects, revisions } = await migrateStore({
      fromUrl: from,
      toUrl: to,
      etcdAccess,
      clock: {
        nowMs: () => terminal.nowMs(),
        after: (ms, run) => {
          const timer = setTimeout(run, ms);
          return () => clearTimeout(timer);
        },
      },
      isDryRun,
      onProgress: (done, all) => {
        if (done % progressRevisions === 0 || done === all) terminal.err(`${done} of ${countOf(all, 'revision')}`);
      },
    });
    const what = `${countOf(objects, 'object')} and ${countOf(revisions, 'revision')}, up to revision ${revision}`;
    terminal.out(isDryRun ? `would copy ${what}; nothing was written` : `copied ${what}`);
  } catch (error) {
    if (error instanceof StoreError || error instanceof EtcdFailure)
      throw new CliError(error.message, undefined, { cause: error });
    throw error;
  }
}
