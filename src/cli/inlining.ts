/** How far V8's optimizing compiler may join functions into one. */
import { setFlagsFromString } from 'node:v8';

/**
 * Bytes of bytecode that one function may take in of the functions it calls. V8's default of 920 ends in the middle of a request's path; with this
 * that takes 6 % fewer instructions, and with twice as much no fewer (ADR 29).
 */
export const inliningBudgetFlag = '--max-inlined-bytecode-size-cumulative';
const inliningBudgetBytes = 2000;

/** For all threads of this process. The compiler reads it at each function, so it is for before any is worth compiling. */
export function raiseInliningBudget(): void {
  setFlagsFromString(`${inliningBudgetFlag}=${inliningBudgetBytes}`);
}
