/** Completion in the language of each shell, out of a tree of commands. */
import type { CompletedCommand, CompletedFlag, Expected } from './completion.ts';

export function bashScript(root: CompletedCommand): string {
  return `# Completion of weft for bash: source <(weft completion bash)
${bashFunction(root)}
complete -F _weft weft`;
}

/** zsh brings what it takes to run the functions of bash. */
export function zshScript(root: CompletedCommand): string {
  return `# Completion of weft for zsh: source <(weft completion zsh)
(( $+functions[compdef] )) || { autoload -U compinit && compinit }
autoload -U bashcompinit && bashcompinit
${bashFunction(root)}
complete -F _weft weft`;
}

/** First it goes through the words before the cursor: which command, how many arguments, whether a flag still waits for its value. */
function bashFunction(root: CompletedCommand): string {
  const commands = flat(root);
  const flags = commands.flatMap(({ path, flags: own }) => own.map((flag) => ({ path, flag })));
  const valued = flags.filter(({ flag }) => flag.value !== null);
  const patterns = (path: string, { names }: CompletedFlag) => names.map((name) => `'${path} ${name}'`).join('|');
  const values = valued
    .filter(({ flag }) => flag.value !== 'anything')
    .map(({ path, flag }) => `    ${patterns(path, flag)}) ${bashValue(flag.value ?? [])} ;;`);
  const words = commands.flatMap(({ path, below, arguments: expected }) => {
    const first = below.length > 0 ? [below.map(lastWord)] : expected;
    return first.flatMap((each, i) =>
      typeof each === 'string' ? [] : [`      '${path} ${i}') words='${each.join(' ')}' ;;`],
    );
  });
  return `_weft() {
  local path=weft expects= words= word current=\${COMP_WORDS[COMP_CWORD]}
  local -i i arguments=0
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    if [[ -n $expects ]]; then
      expects=
      continue
    fi
    case "$path $word" in
      ${commands
        .slice(1)
        .map(({ path }) => `'${path}'`)
        .join('|')}) path="$path $word"; arguments=0 ;;
      ${valued.map(({ path, flag }) => patterns(path, flag)).join('|')}) expects="$path $word" ;;
      *' -'*) ;;
      *) arguments=$((arguments + 1)) ;;
    esac
  done
  case "$expects" in
${values.join('\n')}
    ?*) return ;;
  esac
  if [[ $current == -* ]]; then
    case "$path" in
${commands.map(({ path, flags: own }) => `      '${path}') words='${own.flatMap(({ names }) => names).join(' ')}' ;;`).join('\n')}
    esac
  else
    case "$path $arguments" in
${words.join('\n')}
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}`;
}

/** Names of files may hold blanks. */
const bashValue = (expected: Expected): string =>
  expected === 'file'
    ? `local IFS=$'\\n'; COMPREPLY=($(compgen -f -- "$current")); return`
    : `COMPREPLY=($(compgen -W '${typeof expected === 'string' ? '' : expected.join(' ')}' -- "$current")); return`;

export function fishScript(root: CompletedCommand): string {
  const commands = flat(root);
  const paths = commands.slice(1).map(({ path }) => `'${path}'`);
  const lines = commands.flatMap((command) => {
    const at = `complete -c weft -n 'test (__weft_path) = "${command.path}"'`;
    return [
      ...command.below.map((below) => `${at} -a ${lastWord(below)} -d ${quoted(below.description)}`),
      ...command.arguments.flatMap((expected) =>
        typeof expected === 'string' ? [] : [`${at} -a '${expected.join(' ')}'`],
      ),
      ...command.flags.map((flag) => `${at}${fishFlag(flag)} -d ${quoted(flag.description)}`),
    ];
  });
  return `# Completion of weft for fish: ~/.config/fish/completions/weft.fish
function __weft_path
    set -l path weft
    set -l words (commandline -opc)
    for word in $words[2..-1]
        contains -- "$path $word" ${paths.join(' ')}; and set path "$path $word"
    end
    echo $path
end
complete -c weft -f
${lines.join('\n')}`;
}

function fishFlag({ names, value }: CompletedFlag): string {
  const named = names.map((name) => (name.startsWith('--') ? ` -l ${name.slice(2)}` : ` -s ${name.slice(1)}`)).join('');
  if (value === null) return named;
  if (value === 'file') return `${named} -rF`;
  return value === 'anything' ? `${named} -x` : `${named} -xa '${value.join(' ')}'`;
}

const quoted = (text: string): string => `'${text.replace(/[\\']/g, '\\$&')}'`;

const flat = (command: CompletedCommand): readonly CompletedCommand[] => [command, ...command.below.flatMap(flat)];

const lastWord = ({ path }: CompletedCommand): string => path.split(' ').at(-1)!;
