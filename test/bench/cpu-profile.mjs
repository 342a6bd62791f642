// A .cpuprofile of V8, read: which JavaScript functions its samples were in, inlined ones too, by their places in the sources.
import { readFileSync } from 'node:fs';
import { sourcePlace } from './source-place.mjs';

/**
 * V8 samples by the clock on the wall. Of two processes on one core the one that waits for it is sampled, too, mostly in the write that
 * woke the other one: writes are overstated, and what libuv and uWS do outside JavaScript is called idle. perf knows better (perf-script.mjs).
 * @param window `{ fromUs, toUs }` of the monotonic clock (`process.hrtime`), which is also V8's: samples outside do not count
 * @returns `{ samples, functions: [{ name, place, self, total, caller }] }`, most samples first; `self` and `total` as shares of the busy samples
 */
export function readProfile(path, { fromUs, toUs }) {
  const { nodes, startTime, samples, timeDeltas } = JSON.parse(readFileSync(path, 'utf8'));
  const nodeById = new Map(nodes.map((node) => [node.id, node]));
  const parentOf = new Map(nodes.flatMap((node) => (node.children ?? []).map((child) => [child, node.id])));
  const keyOf = new Map(nodes.map((node) => [node.id, functionKey(node.callFrame)]));
  const functions = new Map();
  let busy = 0;
  let atUs = startTime;
  samples.forEach((id, i) => {
    atUs += timeDeltas[i];
    if (atUs < fromUs || atUs > toUs || nodeById.get(id).callFrame.functionName === '(idle)') return;
    busy += 1;
    const own = entryOf(functions, keyOf.get(id));
    own.self += 1;
    const caller = keyOf.get(parentOf.get(id)) ?? '';
    own.callers.set(caller, (own.callers.get(caller) ?? 0) + 1);
    // Once per function, however often it stands on the stack.
    const onStack = new Set();
    for (let at = id; at !== undefined; at = parentOf.get(at)) onStack.add(keyOf.get(at));
    for (const key of onStack) entryOf(functions, key).total += 1;
  });
  const found = [...functions].map(([key, { self, total, callers }]) => {
    const [name, place] = key.split('\t');
    const caller = [...callers].sort((a, b) => b[1] - a[1])[0]?.[0].split('\t')[0] ?? '';
    return { name, place, self: self / busy, total: total / busy, caller };
  });
  return { samples: busy, functions: found.sort((a, b) => b.self - a.self) };
}

function entryOf(functions, key) {
  let entry = functions.get(key);
  if (entry === undefined) {
    entry = { self: 0, total: 0, callers: new Map() };
    functions.set(key, entry);
  }
  return entry;
}

/** Name and place, told apart by a tab. */
const functionKey = ({ functionName, url, lineNumber, columnNumber }) =>
  `${functionName || '(anonymous)'}\t${sourcePlace(url, lineNumber, columnNumber)}`;
