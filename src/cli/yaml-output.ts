/** Resources as YAML that can be applied again. Apart from get.ts, because only `-o yaml` pays for loading it. */
import { stringify } from 'yaml';

export const formatYaml = (values: readonly object[]): string =>
  values.map((value) => stringify(value).trimEnd()).join('\n---\n');
