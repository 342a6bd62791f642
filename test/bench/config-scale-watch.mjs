// Loaded into a measured process before everything else (node --import): tells its parent, when asked, what it cost since it was asked last.
import { subscribe } from 'node:diagnostics_channel';
import { performance } from 'node:perf_hooks';

const { nodeTiming } = performance;
let longestTurnMs = 0;
let endedAtMs = performance.now();
let endedIdleMs = nodeTiming.idleTime;

const cpuMs = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};
let endedCpuMs = cpuMs();

// A turn ends with its check phase, where immediates run; unreferenced, they keep nothing awake (telemetry/loop-delay.ts does the same).
// It held the loop for no longer than it lasted, and for no longer than the whole process had of any core meanwhile: what is above that
// is time in which the machine did something else.
function endTurn() {
  const nowMs = performance.now();
  const idleMs = nodeTiming.idleTime;
  const nowCpuMs = cpuMs();
  const turnMs = nowMs - endedAtMs - (idleMs - endedIdleMs);
  longestTurnMs = Math.max(longestTurnMs, Math.min(turnMs, nowCpuMs - endedCpuMs));
  endedCpuMs = nowCpuMs;
  endedAtMs = nowMs;
  endedIdleMs = idleMs;
  setImmediate(endTurn).unref();
}
setImmediate(endTurn).unref();

const sockets = new Set();
let closedReadBytes = 0;
subscribe('net.client.socket', ({ socket }) => {
  sockets.add(socket);
  socket.once('close', () => {
    sockets.delete(socket);
    closedReadBytes += socket.bytesRead;
  });
});
const readBytes = () => [...sockets].reduce((sum, socket) => sum + (socket.bytesRead ?? 0), closedReadBytes);

let before = { cpu: process.cpuUsage(), readBytes: 0 };
process.on('message', (question) => {
  if (question.collect) globalThis.gc?.();
  const cpu = process.cpuUsage(before.cpu);
  const bytes = readBytes();
  const reading = {
    cpuMs: (cpu.user + cpu.system) / 1000,
    longestTurnMs,
    receivedBytes: bytes - before.readBytes,
    heapBytes: process.memoryUsage().heapUsed,
    residentBytes: process.memoryUsage.rss(),
  };
  before = { cpu: process.cpuUsage(), readBytes: bytes };
  longestTurnMs = 0;
  process.send(reading);
});
process.channel?.unref();
