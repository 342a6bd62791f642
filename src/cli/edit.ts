/** `weft edit`: one object in the editor of the person, written back if nobody else has changed it; refused, it opens again with the reasons. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { formatProblem, type Problem } from '../model/problem.ts';
import { defaultNamespace, keyOf, type Resource } from '../model/resources.ts';
import { ControlPlaneClient, RefusedError } from './client.ts';
import { parseNamespace } from './flag-values.ts';
import { getOne } from './get.ts';
import { kindNames, parseKind } from './kind-names.ts';
import { formatValue } from './output-flag.ts';
import { CliError, type Terminal } from './terminal.ts';
import { addWriteFlags, type WriteFlags, write } from './transaction.ts';

interface EditFlags extends WriteFlags {
  readonly namespace?: string;
}

export function editCommand(terminal: Terminal): Command {
  const command = new Command('edit')
    .description('change an object in your editor ($VISUAL, $EDITOR or vi)')
    .argument('<kind>', kindNames)
    .argument('<name>', 'its name')
    .option('-n, --namespace <namespace>', `default: ${defaultNamespace}`, parseNamespace)
    .addHelpText(
      'after',
      `
What is saved is applied, unless somebody has changed the object meanwhile. When it is refused the editor opens again, with the reasons as comments at the
top: mend it, or leave it as it is (or empty) to give up.

Examples:
  weft edit httproute cart
  EDITOR='code --wait' weft edit service cart -n shop -m 'more weight to b' --wait applied`,
    )
    .action(async (kind: string, name: string, flags: EditFlags) => {
      const client = new ControlPlaneClient(flags);
      const object = await getOne(client, {
        kind: parseKind(kind),
        namespace: flags.namespace ?? defaultNamespace,
        name,
      });
      await editUntilTaken(object, client, flags, terminal);
    });
  return addWriteFlags(command);
}

async function editUntilTaken(
  object: Resource,
  client: ControlPlaneClient,
  flags: WriteFlags,
  terminal: Terminal,
): Promise<void> {
  const original = `${await formatValue(object, 'yaml')}\n`;
  const directory = mkdtempSync(join(tmpdir(), 'weft-edit-'));
  const file = join(directory, `${object.metadata.name}.yaml`);
  let isKept = false;
  /** What the editor was last given. */
  let shown = '';
  let isTried = false;
  try {
    let reasons: Reasons = { said: [], problems: [] };
    for (let offered = original; ; ) {
      shown = `${commentOf(object, reasons)}${offered}`;
      writeFileSync(file, shown, { mode: 0o600 });
      await runEditor(file);
      const text = withoutHead(readFileSync(file, 'utf8'));
      if (text.trim() === '' || text === original) return terminal.out(`${keyOf(object)} unchanged`);
      if (text === offered) throw new CliError(['Nothing was changed:', ...linesOf(reasons, 0)].join('\n'));
      isTried = true;
      const refused = await tryToWrite(text, object, client, flags, terminal);
      if (refused === null) return;
      reasons = refused;
      offered = text;
    }
  } catch (error) {
    isKept = isTried || isTyped(file, shown);
    if (!isKept || !(error instanceof CliError)) throw error;
    throw new CliError(`${error.message}\nWhat you wrote is in ${file}.`, error.exitCode, { cause: error });
  } finally {
    if (!isKept) rmSync(directory, { recursive: true });
  }
}

/** Whether the editor has left anything but what it was given: that is all that would be lost. */
function isTyped(file: string, shown: string): boolean {
  try {
    return readFileSync(file, 'utf8') !== shown;
  } catch {
    // The editor took it away, or it could not be written: nothing of anybody's is in it.
    return false;
  }
}

/** Why it was refused. Lines of problems are those of the object, counted without the comment. */
interface Reasons {
  readonly said: readonly string[];
  readonly problems: readonly Problem[];
}

/** Null: written. Else why not. */
async function tryToWrite(
  text: string,
  object: Resource,
  client: ControlPlaneClient,
  flags: WriteFlags,
  terminal: Terminal,
): Promise<Reasons | null> {
  const { readManifest } = await import('../model/manifest.ts');
  const { resources, problems, locate } = readManifest(text, '');
  if (problems.length > 0) return { said: [], problems };
  const [resource, ...others] = resources;
  if (resource === undefined || others.length > 0 || keyOf(resource) !== keyOf(object))
    return {
      said: [`this must remain ${keyOf(object)} and nothing else: kind, name and namespace are not changed by an edit`],
      problems: [],
    };
  try {
    const message = flags.message ?? '';
    await write(
      (_, options) => client.transact({ apply: [resource], delete: [], message }, options),
      flags,
      terminal,
      client,
    );
    return null;
  } catch (error) {
    if (!(error instanceof RefusedError)) throw error;
    const { status, code, detail, title, problems: refusals = [] } = error.refusal;
    const said = [detail ?? title];
    if (code === 'conflict') said.push('weft history and weft diff tell what; resourceVersion says what it must be at');
    // Neither mending nor waiting in an editor helps against others.
    else if (status !== 422) throw error;
    return { said, problems: refusals.map(locate) };
  }
}

/** Ends the comment: whatever stands before it is not part of the object. */
const headEnd = '# ---- the object begins below this line ----\n';

function commentOf(object: Resource, reasons: Reasons): string {
  const count = reasons.said.length + reasons.problems.length;
  const first = count === 0 ? `${keyOf(object)}: save and leave to apply it.` : 'It was refused:';
  // The editor counts the comment too: its first line, the reasons, and its end.
  const lines = [first, ...linesOf(reasons, count + 2)];
  return `${lines.map((line) => `# ${line}\n`).join('')}${headEnd}`;
}

/** One line each. */
function linesOf({ said, problems }: Reasons, offset: number): readonly string[] {
  const moved = problems.map(({ file: _, line, ...problem }) =>
    formatProblem(line === undefined ? problem : { ...problem, line: line + offset }),
  );
  return [...said, ...moved].map((line) => line.replace(/\s+/g, ' '));
}

function withoutHead(text: string): string {
  const end = text.indexOf(headEnd);
  return end === -1 ? text : text.slice(end + headEnd.length);
}

/** As a shell ends that does not find what it is to run (POSIX, 2.8.2). */
const notFound = 127;

/** Through the shell, as git does it: the variable may hold flags. @throws CliError when it does not end well. */
async function runEditor(file: string): Promise<void> {
  const { VISUAL, EDITOR } = process.env;
  const editor = VISUAL || EDITOR || 'vi';
  // A Ctrl-C is the editor's: it must not end the one that waits for it.
  const ignore = () => {};
  process.on('SIGINT', ignore);
  const outcome = await new Promise<string | null>((resolve) => {
    const child = spawn('sh', ['-c', `${editor} "$@"`, editor, file], { stdio: 'inherit' });
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (code, signal) =>
      resolve(code === 0 ? null : code === notFound ? 'there is no such program' : `it ended with ${code ?? signal}`),
    );
  });
  process.off('SIGINT', ignore);
  if (outcome !== null)
    throw new CliError(`The editor ${editor} failed: ${outcome}. Nothing was changed; set EDITOR to another one.`);
}
