/** `weft completion`: scripts by which shells complete this very command line. They are made of its own commands and ask no network. */
import { Argument, Command, type Option } from 'commander';
import { kinds } from '../model/resources.ts';
import { bashScript, fishScript, zshScript } from './completion-scripts.ts';
import type { Terminal } from './terminal.ts';

/** What may stand somewhere: one of these words, the name of a file, or anything. */
export type Expected = readonly string[] | 'file' | 'anything';

export interface CompletedFlag {
  /** `-o`, `--output`. */
  readonly names: readonly string[];
  /** Null: it takes no value. */
  readonly value: Expected | null;
  readonly description: string;
}

/** A command as completion sees it. */
export interface CompletedCommand {
  /** `weft ca rotate`. */
  readonly path: string;
  readonly description: string;
  readonly below: readonly CompletedCommand[];
  readonly flags: readonly CompletedFlag[];
  /** By position. */
  readonly arguments: readonly Expected[];
}

const scripts = { bash: bashScript, zsh: zshScript, fish: fishScript } as const;
type Shell = keyof typeof scripts;

export function completionCommand(terminal: Terminal): Command {
  return new Command('completion')
    .description('print a script by which your shell completes commands, flags and kinds')
    .addArgument(new Argument('<shell>', 'which').choices(Object.keys(scripts)))
    .addHelpText(
      'after',
      `
Examples:
  source <(weft completion bash)           in ~/.bashrc: always
  source <(weft completion zsh)            in ~/.zshrc
  weft completion fish > ~/.config/fish/completions/weft.fish`,
    )
    .action((shell: Shell, _flags: object, command: Command) => {
      terminal.out(scripts[shell](completed(command.parent ?? command, '')));
    });
}

function completed(command: Command, above: string): CompletedCommand {
  const path = `${above}${command.name()}`;
  const help: CompletedFlag = { names: ['-h', '--help'], value: null, description: 'show what is understood' };
  return {
    path,
    description: command.description(),
    below: command.commands.map((each) => completed(each, `${path} `)),
    flags: [...command.options.filter(({ hidden }) => !hidden).map(flagOf), help],
    arguments: command.registeredArguments.map((argument) => expectedOf(path, argument)),
  };
}

const flagOf = ({ short, long, required, optional, argChoices, flags, description }: Option): CompletedFlag => ({
  names: [short, long].filter((name) => name !== undefined && name !== null),
  value: required || optional ? (argChoices ?? (/<(path|file|folder)>/.test(flags) ? 'file' : 'anything')) : null,
  description,
});

const kindWords = Object.values(kinds).map(({ names }) => names[0]);

function expectedOf(path: string, argument: Argument): Expected {
  if (argument.argChoices !== undefined) return argument.argChoices;
  if (argument.name() === 'kind') return path === 'weft get' ? [...kindWords, 'sidecars'] : kindWords;
  return argument.name() === 'field' ? kindWords : 'anything';
}
