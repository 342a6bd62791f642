import { describe, expect, it } from 'vitest';
import { documentedFields } from '../../../src/model/field-docs.ts';
import { allFields, findField } from '../../../src/model/field-facts.ts';
import { type Kind, kinds } from '../../../src/model/resources.ts';

const fields = (Object.keys(kinds) as Kind[]).flatMap((kind) => [...allFields(kind)]);

describe('what is written about the fields of resources', () => {
  it('is there for every field of every schema, and for no other', () => {
    expect([...documentedFields()].sort()).toEqual(fields.map(({ field }) => field).sort());
  });

  it('is a sentence', () => {
    for (const { field, description } of fields) expect(description, field).toMatch(/^[A-Za-z*].*[.a-z]$/);
  });
});

describe('a field', () => {
  const facts = (kind: Kind, ...names: string[]) => {
    const found = findField(kind, names);
    if (!('facts' in found)) throw new Error(JSON.stringify(found));
    return found;
  };

  it('is found through lists, and through the form of a value that has fields', () => {
    expect(facts('HTTPRoute', 'spec', 'rules', 'matches', 'path', 'type').facts).toMatchObject({
      type: 'text',
      isRequired: false,
      expected: 'one of Exact, PathPrefix, RegularExpression',
      default: 'PathPrefix',
    });
    expect(facts('Service', 'spec', 'endpoints', 'weight').facts).toMatchObject({
      type: 'whole number',
      expected: '0 to 1000000',
      default: '1',
    });
  });

  it('says its type, its range and whether it must be there', () => {
    expect(facts('Service', 'spec', 'endpoints').facts.type).toBe('list of texts or objects');
    expect(facts('Service', 'metadata', 'annotations').facts.type).toBe('map of text to text');
    expect(facts('Service', 'metadata', 'name').facts).toMatchObject({ isRequired: true, default: null });
    expect(facts('Service', 'spec', 'port').facts.expected).toBe('1 to 65535');
    expect(facts('TrafficPolicy', 'spec', 'targetRefs').facts.expected).toBe('1 to 32');
    expect(facts('HTTPRoute', 'apiVersion').facts.expected).toBe('gateway.networking.k8s.io/v1');
  });

  it('that is not there is told with those that are', () => {
    expect(findField('Service', ['spec', 'prot'])).toMatchObject({
      missing: 'prot',
      below: 'Service.spec',
      known: ['protocol', 'port', 'endpoints', 'loadBalancer', 'limits', 'pipelining'],
    });
    expect(findField('Service', ['spec', 'port', 'x'])).toMatchObject({ below: 'Service.spec.port', known: [] });
  });
});
