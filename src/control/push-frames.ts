/** The frames of the ChangeSet that is being sent: sidecars of a scope that have come equally far get the same bytes. */
import { encodeControlFrame } from '../wire/control-frame.ts';

/** Of one ChangeSet: sidecars of a scope have had a few numbers of changes since they connected. */
const framesMax = 16;
/** A larger ChangeSet costs more to send than to copy, and its frames would only take memory. */
const sharedBytesMax = 64 * 1024;

export class PushFrames {
  #changeSet: Uint8Array | null = null;
  readonly #bySequence = new Map<number, Uint8Array>();

  /** The frame that sends this ChangeSet under `sequence` to a sidecar that acknowledged `base` last. The bytes may be others' too. */
  of(changeSet: Uint8Array, sequence: number, base: number): Uint8Array {
    // After a refusal the base is an older one; that is rare.
    if (base !== sequence - 1 || changeSet.length > sharedBytesMax) return encode(changeSet, sequence, base);
    if (changeSet !== this.#changeSet || this.#bySequence.size >= framesMax) {
      this.#bySequence.clear();
      this.#changeSet = changeSet;
    }
    let frame = this.#bySequence.get(sequence);
    if (frame === undefined) {
      frame = encode(changeSet, sequence, base);
      this.#bySequence.set(sequence, frame);
    }
    return frame;
  }
}

const encode = (changeSet: Uint8Array, sequence: number, base: number): Uint8Array =>
  encodeControlFrame({ tag: 'push', sequence, base, changeSet });
