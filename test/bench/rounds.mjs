// The rounds: every contestant in turn, round by round, and what one of them cost.
import { checkAnswer, runLoad } from './load.mjs';
import { coreBusyUs, cpuTimeUs, residentMib } from './pinned-process.mjs';

/** V8 has compiled what is hot by then; a sidecar's first two seconds cost up to a third more. */
const warmUpSeconds = 4;
const triesMax = 6;

/**
 * Runs all rounds. A contestant that answers wrongly once is void from then on, with all its rounds.
 * @param entries `{ name, port, processes, voidBecause }`; `voidBecause` is set here, too
 * @param options `app` is the process behind all contestants; a measurement during which others had more than `othersMax` of the proxies'
 *   core is done again at once, and of `triesMax` the least disturbed counts
 * @returns `figures` by name, one per round, and how many measurements were done `again`
 */
export async function runRounds(entries, { rounds, onRound, ...options }) {
  const figures = Object.fromEntries(entries.map(({ name }) => [name, []]));
  const { loadCore, connections } = options;
  for (const entry of entries)
    await unlessVoid(entry, () => runLoad(loadCore, entry.port, { connections, seconds: warmUpSeconds }));
  let again = 0;
  for (let round = 1; round <= rounds; round += 1) {
    for (const entry of entries) {
      await unlessVoid(entry, async () => {
        await checkAnswer(entry.port);
        const { least, tries } = await measureUndisturbed(entry, options);
        figures[entry.name].push(least);
        again += tries - 1;
        onRound(round, entry.name, least);
      });
    }
  }
  return { figures, again };
}

async function measureUndisturbed(entry, { othersMax, ...options }) {
  let least = await measure(entry, options);
  let tries = 1;
  for (; least.othersShare > othersMax && tries < triesMax; tries += 1) {
    const one = await measure(entry, options);
    if (one.othersShare < least.othersShare) least = one;
  }
  return { least, tries };
}

/** One round of one contestant: CPU microseconds per completed request, of both hops together and of each. */
export async function measure({ port, processes }, { app, proxyCore, loadCore, seconds, connections }) {
  const appCpuUs = () => totalUs(cpuTimeUs([app]));
  const appBeforeUs = appCpuUs();
  const before = processes.map((one) => cpuTimeUs([one]));
  const coreBusyBeforeUs = coreBusyUs(proxyCore);
  const startedAtMs = performance.now();
  const { busySeconds, loadCpuUs, ...load } = await runLoad(loadCore, port, { connections, seconds });
  const busyUs = busySeconds * 1e6;
  const elapsedUs = (performance.now() - startedAtMs) * 1_000;
  const coreBusy = coreBusyUs(proxyCore) - coreBusyBeforeUs;
  const spent = processes.map((one, hop) => {
    const { userUs, systemUs } = cpuTimeUs([one]);
    return { userUs: userUs - before[hop].userUs, systemUs: systemUs - before[hop].systemUs };
  });
  const sum = (part) => spent.reduce((total, one) => total + part(one), 0);
  const cpuUs = sum(totalUs);
  return {
    ...load,
    cpuUs: cpuUs / load.requests,
    userUs: sum((one) => one.userUs) / load.requests,
    systemUs: sum((one) => one.systemUs) / load.requests,
    hopUs: spent.map((one) => totalUs(one) / load.requests),
    // Below 1 with many connections: others had the core, or the load generator was the slower one.
    coreShare: cpuUs / busyUs,
    loadShare: (loadCpuUs + appCpuUs() - appBeforeUs) / busyUs,
    // Interrupts of the proxies' own traffic are in here, too.
    othersShare: Math.max(0, coreBusy - cpuUs) / elapsedUs,
    residentMib: residentMib(processes),
  };
}

const totalUs = ({ userUs, systemUs }) => userUs + systemUs;

export async function unlessVoid(entry, step) {
  if (entry.voidBecause !== null) return;
  try {
    await step();
  } catch (error) {
    entry.voidBecause = error.message;
  }
}
