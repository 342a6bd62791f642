// Flags of the benchmarks' command lines, and how a wrong one ends.
import { parseArgs } from 'node:util';

/** Ends the process: the command line was wrong. */
export function stop(message) {
  console.error(message);
  process.exit(2);
}

/**
 * Reads the command line; `--help` prints the usage and ends the process.
 * @param options as `parseArgs` takes them, with `help`
 */
export function readFlags(options, usage) {
  let values;
  try {
    ({ values } = parseArgs({ options }));
  } catch (error) {
    stop(`${error.message}\n${usage}`);
  }
  if (values.help) {
    console.log(usage);
    process.exit(0);
  }
  return values;
}

/**
 * The value of a flag that is a list of whole numbers.
 * @throws Error saying what is wrong with it.
 */
export function wholeNumbers(flag, text, min, max) {
  const numbers = text.split(',').map(Number);
  if (numbers.some((number) => !Number.isInteger(number) || number < min || number > max))
    throw new Error(`${flag} wants whole numbers from ${min} to ${max}, not ${text}.`);
  return numbers;
}
