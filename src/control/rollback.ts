/**
 * The way back: what brings the resources to what they were right after a revision. It is a change like any other, judged as a whole and
 * written as a new revision; what the store holds beside resources (trust bundle, tokens) never goes back.
 */
import { inSlices } from '../decisions/slices.ts';
import { limits } from '../model/limits.ts';
import type { Problem } from '../model/problem.ts';
import type { Kind, Resource } from '../model/resources.ts';
import { validateResource } from '../model/validate.ts';
import type { WantedAt, WantedObject } from './change.ts';
import { changesByPeople, oldestKnown } from './history.ts';
import type { Store } from './store/store.ts';

/** Wants the state of `target` back, whatever was written until its turn came. */
export function wayBackTo(target: number, store: Store): WantedAt {
  return async (revision) => {
    const later = store.revisionsAfter(target);
    if (later === null) return { tag: 'gone', revision: target, oldest: oldestKnown(store) };
    const made = await inSlices(changesByPeople(later.filter((each) => each.revision <= revision)));
    if (made.length > limits.transactionObjectsMax) return { tag: 'invalid', problems: [tooMany(target, made.length)] };
    const objects: WantedObject[] = [];
    const problems: Problem[] = [];
    for (const { key, before } of made) {
      if (before === null) {
        const [kind, namespace, name] = key.split('/') as [Kind, string, string];
        objects.push({ remove: { kind, namespace, name }, expected: null });
        continue;
      }
      // An older Weft may have written what this one no longer takes.
      const judged = validateResource(JSON.parse(before) as Resource);
      if ('resource' in judged) objects.push({ restore: judged.resource, expected: null });
      else problems.push(...judged.problems);
    }
    return problems.length > 0 ? { tag: 'invalid', problems } : objects;
  };
}

const tooMany = (target: number, count: number): Problem => ({
  path: '',
  message: `going back to revision ${target} would change ${count} objects, more than the ${limits.transactionObjectsMax} of one transaction: go back to a revision in between first`,
});
