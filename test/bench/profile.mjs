// The profile of a Weft contestant: its sidecars under load, where their CPU time went, by layer and by function, and which system calls they made.
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { waitFor } from './bench-room.mjs';
import { contestantsOf } from './contestants.mjs';
import { readProfile } from './cpu-profile.mjs';
import { checkAnswer, placeOf, runLoad } from './load.mjs';
import { dropReplacedCode, removeMap } from './perf-map.mjs';
import { readSamples } from './perf-script.mjs';
import { aligned } from './report.mjs';
import { measure } from './rounds.mjs';
import { loads, messages } from './scenarios.mjs';
import { systemCallsOf } from './system-calls.mjs';

const seconds = 8;
const traceSeconds = 4;
/** Long enough for what only shows when the old generation has filled. */
const warmUpSeconds = 10;
const functionsShown = 40;
const perfHertz = 1_999;
/** Finer than Node's 1 ms. */
const v8IntervalUs = 400;
const systemCallsShown = 12;
const hops = ['a', 'b'];
const scriptBytesMax = 512 * 1_048_576;
const scriptTimeoutMs = 120_000;

/** Samples CPU time, with the kernel's part and native code: the profile to believe. */
export async function profileWithPerf(contestant, field, load) {
  const standing = field.room.processes.length;
  const flags = ['--perf-basic-prof', '--interpreted-frames-native-stack'];
  const entry = await contestant.start({ ...field, nodeFlags: withFlags(field, { a: flags, b: flags }) });
  const pids = entry.processes.map(({ pid }) => pid);
  try {
    await warmUp(entry, field, load);
    const file = field.room.path('perf.data');
    const what = ['-F', String(perfHertz), '-e', 'cpu-clock', '-g', '-p', pids.join(','), '-o', file];
    const recorder = field.room.start(field.room.loadCore, 'perf', ['record', ...what, '--', 'sleep', String(seconds)]);
    const figures = await measure(entry, load, { app: field.app, ...field.room.cores, seconds });
    await recorder.exited;
    for (const pid of pids) dropReplacedCode(pid);
    console.log(headLine(contestant, load, figures));
    const text = execFileSync('perf', ['script', '-i', file, '-F', 'comm,pid,tid,ip,sym,dso'], {
      ...{ encoding: 'utf8', maxBuffer: scriptBytesMax, timeout: scriptTimeoutMs, stdio: ['ignore', 'pipe', 'ignore'] },
    });
    const samples = readSamples(text);
    pids.forEach((pid, i) => {
      printSamples(hops[i], samples.get(pid), figures.hopUs[i]);
    });
    await field.room.stopSince(standing);
  } finally {
    for (const pid of pids) removeMap(pid);
  }
}

function printSamples(hop, found, hopUs) {
  if (found === undefined) throw new Error(`perf recorded nothing of hop ${hop.toUpperCase()}`);
  const { samples, layers, functions } = found;
  const microseconds = (count) => ((count / samples) * hopUs).toFixed(2);
  const percent = (count) => `${((count / samples) * 100).toFixed(1)} %`;
  console.log(`\nhop ${hop.toUpperCase()}: ${hopUs.toFixed(1)} µs CPU a request, ${samples} samples of CPU time`);
  const byCount = [...layers].sort((a, b) => b[1] - a[1]);
  const layerRows = byCount.slice(0, 20).map(([layer, count]) => [layer, microseconds(count), percent(count)]);
  console.log(aligned([['what ran', 'µs/req', 'share'], ...layerRows]));
  const head = [
    '\ninnermost JavaScript function, with its natives',
    'µs/req',
    'share',
    'kernel',
    'own code',
    'V8 and natives',
  ];
  const rows = [...functions]
    .sort((a, b) => b[1].all - a[1].all)
    .slice(0, functionsShown)
    .map(([name, { all, kernel, own }]) => [
      ...[name, microseconds(all), percent(all), microseconds(kernel), microseconds(own)],
      microseconds(all - kernel - own),
    ]);
  console.log(aligned([head, ...rows]));
}

/** Node's own profiler: tells inlined functions apart, but see the warning in cpu-profile.mjs. */
export async function profileWithV8(contestant, field, load, leaveIn = null) {
  const directories = Object.fromEntries(hops.map((hop) => [hop, mkdtempSync(field.room.path(`profile-${hop}-`))]));
  const flagsFor = (hop) => ['--cpu-prof', `--cpu-prof-dir=${directories[hop]}`, `--cpu-prof-interval=${v8IntervalUs}`];
  const nodeFlags = withFlags(field, Object.fromEntries(hops.map((hop) => [hop, flagsFor(hop)])));
  const entry = await contestant.start({ ...field, nodeFlags });
  await warmUp(entry, field, load);
  const fromUs = nowUs();
  const figures = await measure(entry, load, { app: field.app, ...field.room.cores, seconds });
  const window = { fromUs, toUs: nowUs() };
  console.log(headLine(contestant, load, figures));
  // The profile is written when the process ends.
  await Promise.all(entry.processes.map((one) => one.stop()));
  const percent = (share) => `${(share * 100).toFixed(1)} %`;
  for (const hop of hops.slice(0, entry.processes.length)) {
    const file = mainProfileIn(directories[hop]);
    if (leaveIn !== null) copyFileSync(file, join(leaveIn, `${hop}.cpuprofile`));
    const { samples, functions } = readProfile(file, window);
    console.log(`\nhop ${hop.toUpperCase()}: ${samples} busy samples by the clock; writes are overstated`);
    const rows = functions
      .slice(0, functionsShown)
      .map(({ name, place, self, total, caller }) => [`${name} (${place})`, percent(self), percent(total), caller]);
    console.log(aligned([['function', 'self', 'with callees', 'most called by'], ...rows]));
  }
}

/**
 * Of Weft in each of the scenarios: where CPU time went (printed), CPU profiles that the developer tools of a browser open, and counts of
 * system calls.
 * @param directory gets a directory for each scenario, with HOP.cpuprofile and HOP.syscalls.txt
 */
export async function leaveProfiles(scenarios, field, directory) {
  for (const { id, topology, load: loadName, message } of scenarios) {
    const contestant = contestantsOf[topology].weft;
    const load = { ...loads[loadName], message: messages[message] };
    const leaveIn = join(directory, id.replaceAll('/', '.'));
    mkdirSync(leaveIn, { recursive: true });
    console.log(`\n== ${id}`);
    await profileWithPerf(contestant, field, load);
    await profileWithV8(contestant, field, load, leaveIn);
    await countSystemCalls(contestant, field, load, leaveIn);
    console.log(`\nleft in ${leaveIn}`);
  }
}

/** strace stops the sidecars at each call, so they are slow and their batches differ; the counts for a request are nearly those without it. */
async function countSystemCalls(contestant, field, load, leaveIn) {
  const standing = field.room.processes.length;
  const entry = await contestant.start(field);
  await warmUp(entry, field, load);
  const files = entry.processes.map((_, hop) => join(leaveIn, `${hops[hop]}.syscalls.txt`));
  const tracers = entry.processes.map(({ pid }, hop) =>
    field.room.start(field.room.loadCore, 'strace', ['-c', '-f', '-p', String(pid), '-o', files[hop]]),
  );
  await Promise.all(tracers.map((one) => waitFor(one, 'strace', () => one.log.includes('attached'))));
  const { requests } = await runLoad(field.room.loadCore, placeOf(entry), { ...load, seconds: traceSeconds });
  // It writes its counts when it is interrupted.
  for (const { child } of tracers) child.kill('SIGINT');
  await Promise.all(tracers.map(({ exited }) => exited));
  await field.room.stopSince(standing);
  files.forEach((file, hop) => {
    const rows = systemCallsOf(readFileSync(file, 'utf8')).map(({ name, calls }) => [
      name,
      (calls / requests).toFixed(3),
    ]);
    console.log(`\nhop ${hops[hop].toUpperCase()}: system calls a request, traced over ${requests} requests`);
    console.log(aligned([['system call', 'a request'], ...rows.slice(0, systemCallsShown)]));
  });
}

const withFlags = ({ nodeFlags }, more) =>
  Object.fromEntries(hops.map((hop) => [hop, [...nodeFlags[hop], ...more[hop]]]));

async function warmUp(entry, { room }, load) {
  await checkAnswer(placeOf(entry), load.message);
  await runLoad(room.loadCore, placeOf(entry), { ...load, seconds: warmUpSeconds });
}

const headLine = ({ title }, { connections }, { perSecond, cpuUs, userUs, systemUs }) =>
  `\n${title}, ${connections} connections, profiled: ${perSecond.toFixed(0)} requests a second, ` +
  `${cpuUs.toFixed(1)} µs CPU a request (user ${userUs.toFixed(1)}, system ${systemUs.toFixed(1)})`;

/** Worker threads write one each: the main thread is number 0 (`CPU.date.time.pid.tid.sequence.cpuprofile`). */
function mainProfileIn(directory) {
  const names = readdirSync(directory).filter((name) => /\.0\.\d+\.cpuprofile$/.test(name));
  if (names.length !== 1) throw new Error(`${names.length} profiles of a main thread, not 1: the sidecar was killed?`);
  return join(directory, names[0]);
}

const nowUs = () => Number(process.hrtime.bigint() / 1_000n);
