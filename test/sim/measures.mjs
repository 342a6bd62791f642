// What is measured of a simulated mesh, part by part. Times are milliseconds, CPU that of all threads of the control plane.
import { spreadOf } from '../bench/statistics.mjs';
import { nowMs, sleep } from './clock.mjs';

/** Between two changes: longer than changes gather (`limits.debounceMs`), so that each is pushed for itself. */
const pauseMs = 300;
/** How long the cost of leases and connections is measured that is not the changes'. */
const backgroundMs = 4_000;
const joinTimeoutMs = 180_000;
const applyTimeoutMs = 60_000;
/** So long nobody was sent anything: everybody has everything. */
const quietMs = 2_000;
/** A lease, the time in which a silent connection is found out, and some more. */
const lostTimeoutMs = 45_000;

/** The share of sorted values that is not larger. */
export function percentileOf(sorted, percent) {
  return sorted[Math.min(sorted.length - 1, Math.ceil((sorted.length * percent) / 100) - 1)];
}

export const measure = { join, idle, reports, changes, churn, reconnect, slow };

/** All sidecars start, at a pace, and are there when each has everything and nothing moves any more. */
export async function join(sim) {
  const { sidecars, processes } = sim.options;
  const { control } = sim;
  const emptyMib = control.residentMib;
  const cpu = control.readCpu();
  const startedAtMs = nowMs();
  sim.fleet = await sim.addFleet({ count: sidecars, processes });
  await sim.fleet.until('all connected', ({ synced }) => synced === sidecars, joinTimeoutMs);
  const connectedMs = nowMs() - startedAtMs;
  const status = await untilQuiet(sim);
  const settledMs = nowMs() - startedAtMs - quietMs;
  if (status.objectsMin !== sim.objectsHeld || status.objectsMax !== sim.objectsHeld)
    throw new Error(`each sidecar should hold ${sim.objectsHeld} objects: ${JSON.stringify(status)}`);
  await sim.fleet.takeSyncedAtMs();
  const { pushes, bytes } = status.counts;
  return {
    ...{ connectedMs, settledMs, cpuUsPerSidecar: control.cpuUsSince(cpu) / sidecars },
    ...{ pushesPerSidecar: pushes / sidecars, bytesPerSidecar: bytes / sidecars },
    ...{ emptyMib, residentMib: control.residentMib },
  };
}

/** Nothing changes: leases are renewed, connections looked after. */
export async function idle(sim) {
  const { idleSeconds, sidecars } = sim.options;
  const before = await sim.fleet.status();
  const coreShare = await coreShareOver(sim, idleSeconds * 1_000);
  const after = await sim.fleet.status();
  const { residentMib } = sim.control;
  return {
    ...{ coreShare, cpuUsPerSidecarSecond: (coreShare * 1e6) / sidecars },
    pushes: after.counts.pushes - before.counts.pushes,
    ...{ residentMib, kibPerSidecar: ((residentMib - sim.emptyMib) * 1024) / sidecars },
  };
}

/** Each sidecar reports every second, as it does while there are requests. */
export async function reports(sim) {
  const { idleSeconds, sidecars } = sim.options;
  await sim.fleet.setReporting(true);
  const coreShare = await coreShareOver(sim, idleSeconds * 1_000);
  await sim.fleet.setReporting(false);
  return { coreShare, cpuUsPerSidecarSecond: (coreShare * 1e6) / sidecars };
}

async function coreShareOver({ control }, ms) {
  const cpu = control.readCpu();
  const startedAtMs = nowMs();
  await sleep(ms);
  return control.cpuUsSince(cpu) / 1_000 / (nowMs() - startedAtMs);
}

/** One change after the other, each in force everywhere before the next; and as many that concern nobody, which is what a change costs by itself. */
export async function changes(sim) {
  const { changes: count } = sim.options;
  const backgroundCoreShare = await coreShareOver(sim, backgroundMs);
  const forNobody = [];
  for (let i = 0; i < count; i++) {
    await sleep(pauseMs);
    const cpu = sim.control.readCpu();
    await sim.changeForNobody({ wait: true });
    forNobody.push(sim.control.cpuUsSince(cpu));
  }
  const rounds = [];
  for (let i = 0; i < count; i++) {
    await sleep(pauseMs);
    rounds.push(await changeOnce(sim, backgroundCoreShare));
    sim.progress(`change ${i + 1}/${count}: p99 ${rounds.at(-1).p99Ms.toFixed(0)} ms`);
  }
  const spread = (part) => spreadOf(rounds.map(part));
  return {
    ...{ rounds, forNobodyCpuUs: spreadOf(forNobody), backgroundCoreShare },
    ...{
      p50Ms: spread(({ p50Ms }) => p50Ms),
      p99Ms: spread(({ p99Ms }) => p99Ms),
      maxMs: spread(({ maxMs }) => maxMs),
    },
    answeredMs: spread(({ answeredMs }) => answeredMs),
    cpuUsPerSidecar: spread(({ cpuUsPerSidecar }) => cpuUsPerSidecar),
    allCpuUsPerSidecar: spread(({ allCpuUsPerSidecar }) => allCpuUsPerSidecar),
    bytesPerSidecar: spread(({ bytesPerSidecar }) => bytesPerSidecar),
    pushesPerSidecar: spread(({ pushesPerSidecar }) => pushesPerSidecar),
  };
}

async function changeOnce(sim, backgroundCoreShare) {
  const { sidecars } = sim.options;
  const before = await sim.fleet.status();
  const cpu = sim.control.readCpu();
  const askedAtMs = nowMs();
  const revision = await sim.change({ wait: true });
  const answeredMs = nowMs() - askedAtMs;
  const cpuUs = sim.control.cpuUsSince(cpu);
  // On a busy machine a change takes so long that renewals would be half of it.
  const ownCpuUs = cpuUs - backgroundCoreShare * answeredMs * 1_000;
  const committedAtMs = await sim.control.committedAtMs(revision);
  const after = await sim.fleet.status();
  const times = await sim.fleet.appliedAtMs(revision);
  if (times.length !== sidecars) throw new Error(`${times.length} of ${sidecars} sidecars have applied ${revision}`);
  const afterMs = Array.from(times, (atMs) => atMs - committedAtMs);
  return {
    ...{ revision, answeredMs, cpuUsPerSidecar: ownCpuUs / sidecars, allCpuUsPerSidecar: cpuUs / sidecars },
    ...{ p50Ms: percentileOf(afterMs, 50), p99Ms: percentileOf(afterMs, 99), maxMs: afterMs.at(-1) },
    ...perSidecar(before, after, sidecars),
  };
}

/** A change every few milliseconds: of those that come together only the newest is pushed, and everybody ends with the last. */
export async function churn(sim) {
  const { churnSeconds, churnEveryMs, sidecars } = sim.options;
  const before = await sim.fleet.status();
  const cpu = sim.control.readCpu();
  const startedAtMs = nowMs();
  const asked = [];
  const count = Math.round((churnSeconds * 1_000) / churnEveryMs);
  for (let i = 0; i < count; i++) {
    const waitMs = startedAtMs + i * churnEveryMs - nowMs();
    if (waitMs > 0) await sleep(waitMs);
    asked.push(sim.change());
  }
  const last = Math.max(...(await Promise.all(asked)));
  const committedAtMs = await sim.control.committedAtMs(last);
  const after = await sim.fleet.until(
    'all at the last change',
    ({ revisionMin }) => revisionMin >= last,
    applyTimeoutMs,
  );
  const times = await sim.fleet.appliedAtMs(last);
  return {
    ...{ changes: count, seconds: (committedAtMs - startedAtMs) / 1_000, atLast: times.length },
    ...{ lastP99Ms: percentileOf(times, 99) - committedAtMs, lastMaxMs: times.at(-1) - committedAtMs },
    cpuUsPerSidecar: sim.control.cpuUsSince(cpu) / sidecars,
    ...perSidecar(before, after, sidecars),
  };
}

/** Beside the others: some sidecars that are stopped, and as many that take a second to apply what they get. */
export async function slow(sim) {
  const { slowSidecars, slowApplyMs, changes: count } = sim.options;
  const half = Math.ceil(slowSidecars / 2);
  const stopped = await sim.addFleet({ count: half, processes: 1 });
  const slowOnes = await sim.addFleet({ count: half, processes: 1, applyMs: slowApplyMs });
  for (const fleet of [stopped, slowOnes])
    await fleet.until('all connected', ({ synced }) => synced === half, joinTimeoutMs);
  await untilQuiet(sim);
  const beforeMib = sim.control.residentMib;
  stopped.signal('SIGSTOP');
  const rounds = [];
  for (let i = 0; i < count; i++) {
    await sleep(pauseMs);
    rounds.push(await changeBesideSlow(sim));
  }
  const last = await sim.control.revision();
  const besideMib = sim.control.residentMib;
  await slowOnes.until('the slow ones at the last change', ({ revisionMin }) => revisionMin >= last, applyTimeoutMs);
  // Long enough for the control plane to find out that they are gone.
  await sleep(sim.options.stoppedSeconds * 1_000);
  stopped.signal('SIGCONT');
  const wokenAtMs = nowMs();
  const isBack = ({ synced, revisionMin }) => synced === half && revisionMin >= last;
  await stopped.until('the stopped ones at the last change', isBack, lostTimeoutMs);
  const backMs = nowMs() - wokenAtMs;
  await sim.fleet.until('all connected', ({ synced }) => synced === sim.options.sidecars, joinTimeoutMs);
  await Promise.all([stopped.stop(), slowOnes.stop()]);
  return {
    ...{ slowSidecars: 2 * half, rounds, p99Ms: spreadOf(rounds.map(({ p99Ms }) => p99Ms)), backMs },
    ...{ beforeMib, besideMib },
  };
}

async function changeBesideSlow(sim) {
  const { sidecars } = sim.options;
  const revision = await sim.change();
  const isDone = ({ revisionMin }) => revisionMin >= revision;
  await sim.fleet.until('all others at the change', isDone, applyTimeoutMs);
  const committedAtMs = await sim.control.committedAtMs(revision);
  const times = await sim.fleet.appliedAtMs(revision);
  if (times.length !== sidecars) throw new Error(`${times.length} of ${sidecars} sidecars have applied ${revision}`);
  return { revision, p99Ms: percentileOf(times, 99) - committedAtMs };
}

/** The control plane is killed and started again on its store: everybody comes back at once, and has what it had. */
export async function reconnect(sim) {
  const { sidecars } = sim.options;
  const { control, fleet } = sim;
  const before = await fleet.status();
  await fleet.takeSyncedAtMs();
  const killedAtMs = nowMs();
  await control.kill();
  await control.start();
  const readyMs = nowMs() - killedAtMs;
  const isBack = ({ synced, counts }) => synced === sidecars && counts.connects >= before.counts.connects + sidecars;
  const after = await fleet.until('all connected again', isBack, joinTimeoutMs);
  const cpuUs = control.cpuUsSince({ nsByThread: new Map(), userTicks: 0, systemTicks: 0 });
  const times = Array.from(await fleet.takeSyncedAtMs(), (atMs) => atMs - killedAtMs);
  const first = (name) => (after.counts[name] - before.counts[name]) / sidecars;
  return {
    ...{ readyMs, p50Ms: percentileOf(times, 50), p99Ms: percentileOf(times, 99), maxMs: times.at(-1) },
    ...{ cpuUsPerSidecar: cpuUs / sidecars, firstBytesPerSidecar: first('firstBytes') },
    ...{
      firstObjectsPerSidecar: first('firstObjects'),
      notResumed: after.counts.notResumed - before.counts.notResumed,
    },
    ...{ failures: after.counts.failures - before.counts.failures - sidecars, residentMib: control.residentMib },
  };
}

function perSidecar(before, after, sidecars) {
  const between = (name) => (after.counts[name] - before.counts[name]) / sidecars;
  return { pushesPerSidecar: between('pushes'), bytesPerSidecar: between('bytes') };
}

/** Waits until nobody was sent anything for a while. */
async function untilQuiet(sim) {
  let { pushes } = (await sim.fleet.status()).counts;
  let sinceMs = nowMs();
  const isQuiet = ({ counts }) => {
    if (counts.pushes !== pushes) sinceMs = nowMs();
    pushes = counts.pushes;
    return nowMs() - sinceMs >= quietMs;
  };
  return sim.fleet.until('quiet', isQuiet, joinTimeoutMs);
}
