/** The command line as a whole: every command, what a wrong one is told, and which code it ends with. */
import { Command, CommanderError } from 'commander';
import { applyCommand } from './apply.ts';
import { caCommand } from './ca.ts';
import { completionCommand } from './completion.ts';
import { controlPlaneCommand } from './control-plane-command.ts';
import { deleteCommand } from './delete.ts';
import { describeCommand } from './describe.ts';
import { diffCommand } from './diff.ts';
import { editCommand } from './edit.ts';
import { explainCommand } from './explain.ts';
import { getCommand } from './get.ts';
import { historyCommand } from './history.ts';
import { latencyCommand } from './latency.ts';
import { rollbackCommand } from './rollback.ts';
import { runCommand } from './run-command.ts';
import { sidecarCommand } from './sidecar-command.ts';
import { statCommand } from './stat.ts';
import { statusCommand } from './status.ts';
import { storeCommand } from './store.ts';
import { tapCommand } from './tap.ts';
import { CliError, exitCodes, type Terminal } from './terminal.ts';
import { tokenCommand } from './token.ts';
import { topCommand } from './top.ts';
import { traceCommand } from './trace.ts';
import { whyCommand } from './why.ts';

/**
 * Runs one command line (without `node` and the script) and answers its exit code. What a command needs beyond its flags is loaded
 * when it runs, so that `weft get` does not pay for the proxy.
 */
export async function runCommandLine(args: readonly string[], version: string, terminal: Terminal): Promise<number> {
  try {
    await program(version, terminal).parseAsync(args, { from: 'user' });
    return terminal.exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return isAnswer(error) ? exitCodes.ok : exitCodes.usage;
    if (!(error instanceof CliError)) throw error;
    terminal.err(error.message);
    return error.exitCode;
  }
}

/** Help and version are asked for; everything else that commander ends with is a command line that cannot be meant. */
const isAnswer = ({ code, exitCode }: CommanderError): boolean =>
  exitCode === 0 && (code === 'commander.helpDisplayed' || code === 'commander.help' || code === 'commander.version');

function program(version: string, terminal: Terminal): Command {
  const root = new Command('weft')
    .description('A service mesh that says where every millisecond of a call went.')
    .version(version)
    .enablePositionalOptions()
    .addHelpText(
      'after',
      `
Exit codes: 0 done, 1 failed, 2 the command line is wrong; \`weft run\` answers its app's code, \`weft diff\` 1 when something differs.
Environment: WEFT_SERVER (--server), WEFT_TOKEN (--token), WEFT_CA (--ca), WEFT_LOG_LEVEL (debug, info, warn, error, silent; default info).

Start here:
  weft control-plane
  weft run --service cart --app-port 8080 -- python3 -m http.server 8080
  weft status`,
    );
  const commands = [
    controlPlaneCommand,
    sidecarCommand,
    runCommand,
    applyCommand,
    diffCommand,
    getCommand,
    describeCommand,
    editCommand,
    deleteCommand,
    historyCommand,
    rollbackCommand,
    explainCommand,
    statusCommand,
    statCommand,
    topCommand,
    latencyCommand,
    traceCommand,
    tapCommand,
    whyCommand,
    tokenCommand,
    caCommand,
    storeCommand,
    completionCommand,
  ];
  for (const command of commands) root.addCommand(command(terminal));
  configure(root, 'weft', terminal);
  return root;
}

/** A command and all below it end and speak alike. */
function configure(command: Command, path: string, terminal: Terminal): void {
  command
    .exitOverride()
    .showHelpAfterError(`\`${path} --help\` shows what is understood.`)
    .configureOutput({
      writeOut: (text) => terminal.out(text.trimEnd()),
      writeErr: (text) => terminal.err(text.trimEnd()),
      outputError: (text, say) => say(text.replace(/^error: ./, (start) => start.slice(-1).toUpperCase())),
    });
  for (const below of command.commands) configure(below, `${path} ${below.name()}`, terminal);
}
