/** Text as a terminal may be given it: what others have written into the mesh must not move its cursor, rename its window or ring its bell. */

/** Of C0 and C1 all but tab and line feed, DEL, and what changes the direction of writing (Unicode, UAX #9). The colours of a diff are ours. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
const unprintable = /\u001b\[(?:0|1|3[0-7])m|[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;

/** Control characters in the form of JSON, `\u001b`: JSON that has them within its strings stays the same value. */
export const printable = (text: string): string =>
  text.replace(unprintable, (found) =>
    found.length > 1 ? found : `\\u${found.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
