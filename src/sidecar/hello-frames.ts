/** A Hello, in as many frames as it takes to keep each below what a control plane reads. */
import { limits } from '../model/limits.ts';
import type { Hello } from '../wire/sidecar-frame.ts';

/** The frames to send, in order. All but the last say that more follows. */
export function helloFrames(hello: Omit<Hello, 'tag' | 'more'>): readonly Hello[] {
  const held = [...hello.held];
  const { hosts } = hello;
  const { helloEntriesMax } = limits;
  const count = Math.max(1, Math.ceil(Math.max(held.length, hosts.length) / helloEntriesMax));
  return Array.from({ length: count }, (_, index) => {
    const from = index * helloEntriesMax;
    return {
      ...hello,
      tag: 'hello',
      held: new Map(held.slice(from, from + helloEntriesMax)),
      hosts: hosts.slice(from, from + helloEntriesMax),
      more: index < count - 1,
    };
  });
}
