/** The whole of a terminal, for a command that draws on it again and again and is told keys. Sequences are those of ECMA-48 and xterm. */
import { printable } from './printable.ts';

export interface Screen {
  /** Takes the terminal over: nothing else may be written until it is closed. `onKey` gets each key that was pressed, Ctrl-C too (`\u0003`). */
  open(onKey: (key: string) => void): OpenScreen;
}

export interface OpenScreen {
  readonly rows: number;
  readonly columns: number;
  /** In place of what is there. What does not fit is cut off. */
  draw(lines: readonly string[]): void;
  /** Gives back the terminal as it was. */
  close(): void;
}

const enter = '\u001b[?1049h\u001b[?25l';
const leave = '\u001b[?25h\u001b[?1049l';
const home = '\u001b[H';
const clearLine = '\u001b[K';
const clearBelow = '\u001b[J';
const endings = ['SIGTERM', 'SIGHUP'] as const;

/** Of this process, whose standard input and output are a terminal. */
export const processScreen = (): Screen => ({ open: (onKey) => new ProcessScreen(onKey) });

class ProcessScreen implements OpenScreen {
  private readonly takeKeys: (bytes: Buffer) => void;

  constructor(onKey: (key: string) => void) {
    this.takeKeys = (bytes) => onKey(bytes.toString());
    process.stdin.setRawMode(true).resume().on('data', this.takeKeys);
    process.stdout.write(enter);
    for (const signal of endings) process.once(signal, this.endBy);
  }

  get rows(): number {
    return process.stdout.rows;
  }

  get columns(): number {
    return process.stdout.columns;
  }

  draw(lines: readonly string[]): void {
    const shown = lines.slice(0, this.rows).map((line) => printable(line).slice(0, this.columns) + clearLine);
    process.stdout.write(home + shown.join('\r\n') + clearBelow);
  }

  close(): void {
    for (const signal of endings) process.off(signal, this.endBy);
    process.stdin.off('data', this.takeKeys).setRawMode(false).pause();
    process.stdout.write(leave);
  }

  /** The shell must not be left in raw mode by whoever ends the process. */
  private readonly endBy = (signal: NodeJS.Signals): void => {
    this.close();
    process.kill(process.pid, signal);
  };
}
