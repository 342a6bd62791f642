/** A process of simulated sidecars: its parent says what they are, and asks what came of it. */
import { nowMs } from './clock.mjs';
import { type FleetPlan, SimFleet } from './sim-fleet.ts';

type Question =
  | { readonly ask: 'start'; readonly plan: FleetPlan }
  | { readonly ask: 'status' }
  | { readonly ask: 'report'; readonly isReporting: boolean }
  | { readonly ask: 'applied'; readonly revision: number }
  | { readonly ask: 'synced' };

let fleet: SimFleet | null = null;

process.on('message', ({ id, question }: { readonly id: number; readonly question: Question }) =>
  process.send?.({ id, answer: answerTo(question) }),
);
process.once('disconnect', () => process.exit(0));

function answerTo(question: Question): unknown {
  if (question.ask === 'start') {
    fleet = new SimFleet(question.plan, { nowMs, random: Math.random });
    return null;
  }
  if (fleet === null) return null;
  switch (question.ask) {
    case 'status':
      return fleet.status();
    case 'report':
      fleet.setReporting(question.isReporting);
      return null;
    case 'applied':
      return Float64Array.from(fleet.appliedAtMs(question.revision));
    case 'synced':
      return Float64Array.from(fleet.takeSyncedAtMs());
    default:
      return question satisfies never;
  }
}
