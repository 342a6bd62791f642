/** What a request was, or would be, decided by, in lines for a terminal: version, rules, backends, endpoints, limits. */
import type { Candidate, Decision, RuleTrial } from '../model/decision.ts';
import { countOf } from './table.ts';
import { timeoutText } from './verdict.ts';
import { printable } from './waterfall.ts';

const indent = '            ';

/** Each line begins with two blanks and a word of ten characters, or goes on below one. */
export function decisionLines(decision: Decision): readonly string[] {
  const { backends, destination, policy, revision, service, host } = decision;
  return [
    line(
      'called',
      service === '' ? `${printable(host)}, which no Service here claims` : `${service}, as ${printable(host)}`,
    ),
    ...(revision === 0 ? [] : [line('version', `revision ${revision}`)]),
    ...ruleLines(decision),
    ...(backends.length === 0
      ? []
      : [line('backends', backends.map(({ ref, weight }) => `${ref} weight ${weight}`).join(', '))]),
    ...(destination === '' ? [] : [line('balancer', `${policy} of ${destination}`)]),
    ...list('endpoints', candidateTexts(decision)),
    ...limitLines(decision),
  ];
}

function ruleLines({ service, hasRoutes, trials, trialsLeftOut }: Decision): readonly string[] {
  if (service === '') return [];
  if (!hasRoutes) return [line('rules', `none: no route is attached to ${service}`)];
  const more = trialsLeftOut === 0 ? [] : [`and ${trialsLeftOut} more, not shown`];
  return list('rules', [...trials.map(trialText), ...more]);
}

const trialText = ({ rule, asks, why }: RuleTrial): string =>
  `${why === '' ? '*' : '-'} ${rule}: ${printable(asks)}${why === '' ? ': it matches' : `: no, ${printable(why)}`}`;

function candidateTexts({ candidates, candidatesLeftOut }: Decision): readonly string[] {
  const more = candidatesLeftOut === 0 ? [] : [`and ${candidatesLeftOut} more, not shown`];
  return [...candidates.map(candidateText), ...more];
}

function candidateText({ address, weight, activeRequests, score, isTried, isNext, trouble }: Candidate): string {
  return [
    `${isNext ? '*' : '-'} ${address}  weight ${weight}`,
    `${countOf(activeRequests, 'request')} at it`,
    ...(score === null ? [] : [`score ${Number(score.toPrecision(3))}`]),
    ...(isTried ? ['tried or passed over'] : []),
    ...(isNext ? ['next'] : []),
    ...(weight === 0 ? ['never chosen'] : []),
    ...(trouble === '' ? [] : [printable(trouble)]),
  ].join(', ');
}

function limitLines({ limits, timeoutsMs }: Decision): readonly string[] {
  const set = Object.entries(limits ?? {}).filter(([, value]) => value !== 0);
  return [
    ...(timeoutsMs === null
      ? []
      : [
          line(
            'timeouts',
            `request ${timeoutText(timeoutsMs.requestMs)}, backendRequest ${timeoutText(timeoutsMs.perTryMs)}, idle ${timeoutText(timeoutsMs.idleMs)}`,
          ),
        ]),
    ...(set.length === 0 ? [] : [line('limits', set.map(([name, value]) => `${name} ${value}`).join(', '))]),
  ];
}

function list(name: string, texts: readonly string[]): readonly string[] {
  return texts.map((text, i) => (i === 0 ? line(name, text) : indent + text));
}

export const line = (name: string, text: string): string => `  ${name.padEnd(10)}${text}`;
