// What callgrind counted: its output file, read as far as it says which code ran how often.
import { readFileSync } from 'node:fs';

/**
 * @param text of an output file that was made with `--dump-instr=yes --dump-line=no`
 * @returns for each address of code `{ object, name, address, instructions }`; what was called from it is counted where it lies
 */
export function* countsOf(text) {
  const objects = new Map();
  const names = new Map();
  let object = '';
  let name = '';
  let address = 0;
  let isCall = false;
  for (const line of text.split('\n')) {
    if (/^[\d+*-]/.test(line)) {
      const [place, count] = line.split(' ', 2);
      address = addressOf(place, address);
      // Behind `calls=` stands what the call took in all.
      if (!isCall) yield { object, name, address, instructions: Number(count) };
      isCall = false;
    } else if (line.startsWith('ob=')) object = expand(objects, line.slice(3));
    else if (line.startsWith('fn=')) name = expand(names, line.slice(3));
    else if (line.startsWith('cob=')) expand(objects, line.slice(4));
    else if (line.startsWith('cfn=')) expand(names, line.slice(4));
    else if (line.startsWith('calls=')) isCall = true;
  }
}

/** `*`: as before; `+N`, `-N`: so much further. */
function addressOf(text, before) {
  if (text === '*') return before;
  if (text.startsWith('+') || text.startsWith('-')) return before + Number(text.slice(1)) * (text[0] === '-' ? -1 : 1);
  return Number(text);
}

/** `(N) NAME` says what `(N)` is from there on. */
function expand(known, text) {
  const [, number, name] = /^(\(\d+\))(?: (.*))?$/.exec(text) ?? [];
  if (number === undefined) return text;
  if (name !== undefined) known.set(number, name);
  return known.get(number) ?? text;
}

/** V8's list of its compiled code (`--perf-basic-prof`): `find` answers the name of the newest that lies at an address, or null. */
export class CodeMap {
  #starts;
  #byStart = new Map();

  constructor(file) {
    for (const line of readFileSync(file, 'latin1').split('\n')) {
      const [, start, size, name] = /^([\da-f]+) ([\da-f]+) (.*)$/.exec(line) ?? [];
      if (start !== undefined) this.#byStart.set(Number.parseInt(start, 16), { size: Number.parseInt(size, 16), name });
    }
    this.#starts = Float64Array.from(this.#byStart.keys()).sort();
  }

  find(address) {
    let low = 0;
    let high = this.#starts.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#starts[middle] <= address) low = middle + 1;
      else high = middle;
    }
    const start = this.#starts[low - 1];
    if (start === undefined) return null;
    const { size, name } = this.#byStart.get(start);
    return address < start + size ? name : null;
  }
}
