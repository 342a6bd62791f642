// The rounds: every contestant in turn, round by round, and what one of them cost.
import { checkAnswer, runLoad } from './load.mjs';
import { coreBusyUs, cpuTimeUs, residentMib } from './pinned-process.mjs';

/** V8 has compiled what is hot by then; a sidecar's first two seconds cost up to a third more. */
const warmUpSeconds = 4;
const triesPerRound = 4;

/**
 * Runs all rounds. A contestant that answers wrongly once is void from then on, with all its rounds.
 * @param app the process behind all contestants
 * @param entries `{ name, port, processes, voidBecause }`; `voidBecause` is set here, too
 * @param othersMax a round during which others had more than this share of the proxies' core is done again, at most `triesPerRound` times
 * @returns `figures` by name, one per round, and how many rounds were `spoiled` and done again
 */
export async function runRounds(
  entries,
  { app, proxyCore, loadCore, rounds, seconds, connections, othersMax, onRound },
) {
  const figures = Object.fromEntries(entries.map(({ name }) => [name, []]));
  const place = { app, proxyCore, loadCore };
  for (const entry of entries)
    await unlessVoid(entry, () => runLoad(loadCore, entry.port, { connections, seconds: warmUpSeconds }));
  let spoiled = 0;
  for (let round = 1; round <= rounds; ) {
    const found = await runRound(entries, { ...place, seconds, connections, onRound, round });
    const isSpoiled = Object.values(found).some(({ othersShare }) => othersShare > othersMax);
    if (isSpoiled && spoiled < rounds * (triesPerRound - 1)) {
      spoiled += 1;
      continue;
    }
    for (const [name, one] of Object.entries(found)) figures[name].push(one);
    round += 1;
  }
  return { figures, spoiled };
}

async function runRound(entries, { round, onRound, ...load }) {
  const found = {};
  for (const entry of entries) {
    await unlessVoid(entry, async () => {
      await checkAnswer(entry.port);
      found[entry.name] = await measure(entry, load);
      onRound(round, entry.name, found[entry.name]);
    });
  }
  return found;
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
