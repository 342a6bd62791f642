// The rounds: every contestant in turn, round by round, and what one of them cost.
import { checkAnswer, placeOf, runLoad } from './load.mjs';
import { coreBusyUs, cpuBetween, readCpu, residentMib } from './pinned-process.mjs';

/** V8 has compiled what is hot by then; a sidecar's first two seconds cost up to a third more. */
const firstWarmUpSeconds = 4;
const triesMax = 6;

/** Starts a contestant; one that does not start, or answers wrongly, is void and the others go on. */
export async function enter(name, { title, start }, field) {
  const entry = { name, title, port: 0, processes: [], voidBecause: null };
  await unlessVoid(entry, async () => {
    Object.assign(entry, await start(field));
    await checkAnswer(placeOf(entry));
  });
  return entry;
}

/**
 * Runs all rounds. A contestant that answers wrongly once is void from then on, with all its rounds.
 * @param entries `{ name, port or socketPath, processes, voidBecause }`; `voidBecause` is set here, too
 * @param load `{ connections, rate, message }` as `runLoad` takes them
 * @param options `app` is the process behind all contestants; a measurement during which others had more than `othersMax` of the proxies'
 *   core is done again at once, and of `triesMax` the least disturbed counts; `warmUpSeconds` before the first round
 * @returns `figures` by name, one per round, and how many measurements were done `again`
 */
export async function runRounds(entries, load, { rounds, onRound, warmUpSeconds = firstWarmUpSeconds, ...options }) {
  const figures = Object.fromEntries(entries.map(({ name }) => [name, []]));
  for (const entry of entries)
    await unlessVoid(entry, async () => {
      await checkAnswer(placeOf(entry), load.message);
      await runLoad(options.loadCore, placeOf(entry), { ...load, seconds: warmUpSeconds });
    });
  let again = 0;
  for (let round = 1; round <= rounds; round += 1) {
    for (const entry of entries) {
      await unlessVoid(entry, async () => {
        await checkAnswer(placeOf(entry), load.message);
        const { least, tries } = await measureUndisturbed(entry, load, options);
        figures[entry.name].push(least);
        again += tries - 1;
        onRound(round, entry.name, least);
      });
    }
  }
  return { figures, again };
}

async function measureUndisturbed(entry, load, { othersMax, ...options }) {
  let least = await measure(entry, load, options);
  let tries = 1;
  for (; least.othersShare > othersMax && tries < triesMax; tries += 1) {
    const one = await measure(entry, load, options);
    if (one.othersShare < least.othersShare) least = one;
  }
  return { least, tries };
}

/** One round of one contestant: CPU microseconds per completed request, of all hops together and of each. */
export async function measure({ processes, ...entry }, load, { app, proxyCore, loadCore, seconds }) {
  const appBefore = readCpu([app]);
  const before = processes.map((one) => readCpu([one]));
  const coreBusyBeforeUs = coreBusyUs(proxyCore);
  const startedAtMs = performance.now();
  const { busySeconds, loadCpuUs, ...found } = await runLoad(loadCore, placeOf(entry), { ...load, seconds });
  const busyUs = busySeconds * 1e6;
  const elapsedUs = (performance.now() - startedAtMs) * 1_000;
  const coreBusy = coreBusyUs(proxyCore) - coreBusyBeforeUs;
  const spent = processes.map((one, hop) => cpuBetween(before[hop], readCpu([one])));
  const sum = (part) => spent.reduce((total, one) => total + part(one), 0);
  const cpuUs = sum((one) => one.cpuUs);
  return {
    ...found,
    cpuUs: cpuUs / found.requests,
    userUs: sum((one) => one.userUs) / found.requests,
    systemUs: sum((one) => one.systemUs) / found.requests,
    hopUs: spent.map((one) => one.cpuUs / found.requests),
    // Below 1 with many busy connections: others had the core, or the load generator was the slower one.
    coreShare: cpuUs / busyUs,
    loadShare: (loadCpuUs + cpuBetween(appBefore, readCpu([app])).cpuUs) / busyUs,
    // Interrupts of the proxies' own traffic are in here, too.
    othersShare: Math.max(0, coreBusy - cpuUs) / elapsedUs,
    hopMib: processes.map(residentMib),
  };
}

async function unlessVoid(entry, step) {
  if (entry.voidBecause !== null) return;
  try {
    await step();
  } catch (error) {
    entry.voidBecause = error.message;
  }
}
