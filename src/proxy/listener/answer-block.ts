/** The head of an answer as one block of bytes behind the status code: one crossing into uWS instead of one a field. */
import { beyondAscii, isFieldText, isToken } from '../char-classes.ts';
import { fieldIds } from '../field-names.ts';
import { lineOf } from '../headers.ts';
import { reasonOf } from '../local-reply.ts';
import type { AnswerHead } from '../request.ts';

/**
 * `200 OK CRLF Name: value ... `, as text where it is ASCII (uWS would write other text as UTF-8), else as latin1 bytes; `more` (further fields, each behind a CRLF) stands behind the answer's own. uWS checks
 * nothing of what it is given, so this is where a response could be split: null when a name is no token, or a value or the reason
 * holds a control character.
 *
 * uWS adds its own Date and the empty line. A `isWholeHead` block needs neither: it has the answer's Date, or one of ours, and ends the head
 * by itself.
 */
export function answerBlock(head: AnswerHead, more: string, isWholeHead: boolean): Buffer | string | null {
  const { headers, status, reason } = head;
  const isUsual = reason === reasonOf(status);
  if (!isUsual && !isFieldText(reason)) return null;
  let block = `${status} ${reason}`;
  let isAscii = isUsual || !beyondAscii.test(reason);
  let isDated = !isWholeHead;
  for (let i = 0; i < headers.length; i++) {
    const field = headers[i]!;
    if (field.place === -1) {
      if (field.number === 0 && !isToken(field.name)) return null;
      if (!field.isPlain && beyondAscii.test(field.value)) {
        if (!isFieldText(field.value)) return null;
        isAscii = false;
      }
    }
    if (field.id === fieldIds.date) {
      if (isDated) continue;
      isDated = true;
    }
    // This core sends no trailers.
    if (field.id === fieldIds.trailer) continue;
    block += lineOf(field);
  }
  // writeStatus puts one CRLF behind what it is given.
  const date = isDated ? '' : dateField();
  const text = isWholeHead ? `${block}${date}${more}\r\n` : block + more;
  return isAscii ? text : Buffer.from(text, 'latin1');
}

/** Whether `answerBlock` would make one of it, for an answer that is written when its proxy has done with it. */
export function isSendable({ headers, reason }: AnswerHead): boolean {
  return isFieldText(reason) && headers.every(({ name, value }) => isToken(name) && isFieldText(value));
}

/** Date (RFC 9110 section 6.6.1) behind its CRLF, for a head to which nobody else adds one. */
export function dateField(): string {
  return `\r\nDate: ${new Date().toUTCString()}`;
}
