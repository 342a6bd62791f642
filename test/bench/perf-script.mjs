// What `perf script` prints, read: samples of CPU time with their stacks, by layer and by JavaScript function.
import { sourcePlace } from './source-place.mjs';

const kernelDso = '[kernel.kallsyms]';
/** Told by any frame of the stack, outside the kernel; the first that fits. */
const layersByStack = [
  [
    'garbage collector',
    /v8::internal::.*(Scaveng|MarkCompact|MarkingVisitor|Sweeper|::CollectGarbage|::PerformGarbageCollection)/,
  ],
  ['OpenSSL', /^(SSL_|ssl3_|tls1|tls_|ossl_|EVP_|aesni|aes_|gcm_|CRYPTO_|BIO_|chacha|ERR_)/],
];

/**
 * Samples by process. The layer is what ran: a system call, compiled JavaScript, V8, OpenSSL; the function is the innermost JavaScript
 * function on the stack, together with all the native code and system calls that it made. Optimised code contains the functions inlined into it.
 * @returns Map of pid to `{ samples, layers: Map, functions: Map of key to { all, kernel, own } }`, counts of samples
 */
export function readSamples(text) {
  const byPid = new Map();
  for (const block of text.split('\n\n')) {
    const lines = block.split('\n').filter((line) => line.trim() !== '');
    const head = /(\d+)\/(\d+)\s*$/.exec(lines[0] ?? '');
    if (head === null || lines.length < 2) continue;
    const [, pid, tid] = head.map(Number);
    const frames = lines.slice(1).map(frameOf);
    const entry = byPid.get(pid) ?? { samples: 0, layers: new Map(), functions: new Map() };
    byPid.set(pid, entry);
    entry.samples += 1;
    const layer = pid === tid ? layerOf(frames) : 'other threads';
    entry.layers.set(layer, (entry.layers.get(layer) ?? 0) + 1);
    const caller = frames.find(({ symbol }) => symbol.startsWith('JS:'));
    const key = caller !== undefined ? placeOf(caller.symbol) : `(no JavaScript) ${layer}`;
    const own = entry.functions.get(key) ?? { all: 0, kernel: 0, own: 0 };
    entry.functions.set(key, own);
    own.all += 1;
    if (frames[0].dso === kernelDso) own.kernel += 1;
    else if (frames[0] === caller) own.own += 1;
  }
  return byPid;
}

/** A line: address, symbol (with spaces, perhaps), file in brackets. */
function frameOf(line) {
  const found = /^\s*[0-9a-f]+ (.*) \((\S.*)\)$/.exec(line);
  return found === null ? { symbol: '[unknown]', dso: '' } : { symbol: found[1], dso: found[2] };
}

function layerOf(frames) {
  const { symbol, dso } = frames[0];
  if (dso === kernelDso) return `kernel: ${systemCallOf(frames)}`;
  for (const [layer, pattern] of layersByStack) if (frames.some((frame) => pattern.test(frame.symbol))) return layer;
  if (symbol.startsWith('JS:')) return 'compiled JavaScript';
  if (symbol.startsWith('Builtins_') || symbol.startsWith('Builtin:') || dso.endsWith('.map')) return 'V8 builtins';
  if (symbol.startsWith('v8::')) return 'V8 runtime';
  if (dso.endsWith('.node')) return 'uWebSockets';
  if (/vdso/.test(dso)) return 'clock';
  if (/\/lib(c|m|stdc\+\+)[.-]/.test(dso)) return 'libc';
  return 'Node and libuv';
}

/** The C library's name for it; what the kernel does by itself has another entry than a system call. */
function systemCallOf(frames) {
  const user = frames.findIndex(({ dso }) => dso !== kernelDso);
  const kernel = frames.slice(0, user === -1 ? frames.length : user);
  if (!kernel.some(({ symbol }) => /^(entry_SYSCALL|do_syscall)/.test(symbol)))
    return kernel.some(({ symbol }) => /page_fault/.test(symbol)) ? 'page fault' : 'interrupt';
  if (user === -1) return 'unknown';
  return frames[user].symbol.replace(/^__GI_/, '').replace(/^_*(libc_)?/, '');
}

/** `JS:*name file:///x.js:12:3` as NAME (FILE:LINE); the sign says how it was compiled. */
function placeOf(symbol) {
  const found = /^JS:[*~^+]?(.*?) ?((?:file|node):\S*):(\d+):(\d+)$/.exec(symbol);
  if (found === null) return symbol;
  const [, name, url, line, column] = found;
  return `${name || '(anonymous)'} (${sourcePlace(url, Number(line) - 1, Number(column) - 1)})`;
}
