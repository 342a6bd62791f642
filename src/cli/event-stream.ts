/** Server-sent events (WHATWG HTML, section 9.2) as the API sends them: one `data` line, UTF-8, `\n`. */

export interface StreamEvent {
  readonly event: string;
  /** Of the event's `data`. */
  readonly data: unknown;
}

/** The API says something every 15 s: after three times that nobody is there any more. */
export const streamQuietMs = 45_000;
/** An event has one object at most, and that has 1 MiB. */
const eventCharsMax = 4 * 1024 * 1024;

/** `heard` is called for whatever comes, heartbeats too. Ends with the stream; @throws what the stream does, or on nonsense. */
export async function* readEvents(body: AsyncIterable<Uint8Array>, heard: () => void): AsyncGenerator<StreamEvent> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of body) {
    heard();
    text += decoder.decode(chunk, { stream: true });
    for (let end = text.indexOf('\n\n'); end !== -1; end = text.indexOf('\n\n')) {
      const event = parseEvent(text.slice(0, end));
      text = text.slice(end + 2);
      if (event !== null) yield event;
    }
    if (text.length > eventCharsMax) throw new Error('the event is too large');
  }
}

/** Null: a comment. */
function parseEvent(block: string): StreamEvent | null {
  let event: string | null = null;
  let data = 'null';
  for (const line of block.split('\n')) {
    if (line.startsWith('event: ')) event = line.slice('event: '.length);
    if (line.startsWith('data: ')) data = line.slice('data: '.length);
  }
  return event === null ? null : { event, data: JSON.parse(data) as unknown };
}
