import { describe, expect, it } from 'vitest';
import { ApiError } from '../../../src/control/api/api-error.ts';
import { parseJsonBody } from '../../../src/control/api/json-body.ts';
import { wantedByTransaction } from '../../../src/control/api/wanted-objects.ts';
import { limits } from '../../../src/model/limits.ts';
import { schemaProblems } from '../../../src/model/schema-problems.ts';
import { validateResource } from '../../../src/model/validate.ts';

const refusalOf = (run: () => unknown): ApiError => {
  try {
    run();
  } catch (error) {
    if (error instanceof ApiError) return error;
    throw error;
  }
  throw new Error('was taken');
};
const parse = (text: string, valuesMax = 10) => parseJsonBody(Buffer.from(text), valuesMax);
const service = (endpoints: readonly unknown[]) => ({
  apiVersion: 'weft.mesh/v1',
  kind: 'Service',
  metadata: { name: 'cart' },
  spec: { endpoints },
});

describe('the shape of a body', () => {
  it('is bounded in depth before it is parsed', () => {
    const nested = (levels: number) => `${'['.repeat(levels)}${']'.repeat(levels)}`;
    expect(parse(nested(limits.jsonLevelsMax), 1_000)).toBeInstanceOf(Array);
    const tooDeep = refusalOf(() => parse(nested(limits.jsonLevelsMax + 1), 1_000));
    expect([tooDeep.status, tooDeep.message]).toEqual([400, expect.stringContaining('nests deeper than 100 levels')]);
    // No JSON, and never held against the parser.
    expect(refusalOf(() => parse('['.repeat(10_000_000), 1_000)).message).toBe(tooDeep.message);
  });

  it('is bounded in values before it is parsed', () => {
    expect(parse('[1,2,3,4,5,6,7,8,9,10]')).toHaveLength(10);
    expect(parse('{"a":[1,2,3,4],"b":{"c":1,"d":2,"e":3}}')).toHaveProperty('b.e', 3);
    const tooMany = refusalOf(() => parse('[1,2,3,4,5,6,7,8,9,10,11]'));
    expect([tooMany.status, tooMany.message]).toEqual([413, expect.stringContaining('more than 10 values')]);
    expect(refusalOf(() => parse('[{},{},{},{},{},{},{}]')).code).toBe('too-large');
  });

  it('is bounded in the fields of one object', () => {
    const object = (fields: number) => `{${Array.from({ length: fields }, (_, i) => `"f${i}":[1,2,3]`).join(',')}}`;
    const valuesMax = 1_000_000;
    expect(parse(`[${object(10_000)},${object(9_000)}]`, valuesMax)).toHaveLength(2);
    expect(refusalOf(() => parse(object(10_001), valuesMax)).message).toContain('more than 10000 fields');
  });

  it('is not what stands in its strings', () => {
    const texts = ['[[[[{{,,,,,,,,,,,,', '\\', '"', '\\",,,,,,,,,,,,,,', 'é\u0000'];
    expect(parse(JSON.stringify(texts))).toEqual(texts);
    expect(refusalOf(() => parse('["never closed,,,,,,,,,,,,,')).message).toContain('is not valid JSON');
  });
});

describe('a body that is no UTF-8', () => {
  it.each([[0xff], [0xc3], [0xc0, 0xaf], [0xed, 0xa0, 0x80]])('is refused (%j)', (...bytes) => {
    const body = Buffer.concat([Buffer.from('{"a":"'), Buffer.from(bytes), Buffer.from('"}')]);
    const refused = refusalOf(() => parseJsonBody(body, 10));
    expect([refused.status, refused.message]).toEqual([400, expect.stringContaining('not valid UTF-8')]);
  });

  it('is told from one that is', () => {
    expect(parse('{"a":"größer 中 🙂"}')).toEqual({ a: 'größer 中 🙂' });
  });
});

describe('an object of nonsense', () => {
  it('is told all of its mistakes when it is small, and the first of them when it is large', () => {
    expect(schemaProblems('Service', service([1, 2, 3]))).toHaveLength(3);
    const problems = schemaProblems('Service', service(Array(9_000).fill(1)));
    expect(problems).toMatchObject([{ keys: ['spec', 'endpoints', 0] }]);
    expect(schemaProblems('Service', service(Array(450_000).fill(1)))).toHaveLength(1);
    const valid = Array.from({ length: 9_000 }, (_, i) => `10.0.${i >> 8}.${i & 255}:80`);
    expect(validateResource(service(valid))).toHaveProperty('resource');
  });

  it('does not get its names back whole', () => {
    const named = { ...service([]), ['n'.repeat(1_000_000)]: 1 };
    const judged = validateResource(named);
    expect(JSON.stringify(judged).length).toBeLessThan(1_000);
    const refused = refusalOf(() => wantedByTransaction({ ['n'.repeat(1_000_000)]: 1 }));
    expect(JSON.stringify(refused.members).length).toBeLessThan(1_000);
  });
});

describe('a transaction of nonsense', () => {
  it('is refused by its number of objects before anything else', () => {
    const refused = refusalOf(() => wantedByTransaction({ apply: Array(5_001).fill({}), message: 7, other: 1 }));
    expect([refused.code, refused.members]).toEqual(['too-large', {}]);
  });

  it('is judged as far as anybody is shown', () => {
    let judged = 0;
    const bad = () =>
      Object.defineProperty({ apiVersion: 'weft.mesh/v1' }, 'kind', {
        get: () => {
          judged++;
          return 'Nonsense';
        },
      });
    const refused = refusalOf(() => wantedByTransaction({ apply: Array.from({ length: 5_000 }, bad) }));
    expect(refused.members.problems).toHaveLength(1_000);
    expect(judged).toBeLessThan(3_000);
  });
});
