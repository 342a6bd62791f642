/** `-o`: how an answer is written, for people or for programs. */
import { Option } from 'commander';

export type Output = 'table' | 'yaml' | 'json';
/** Of commands whose answer to people is no table. */
export type TextOutput = 'text' | 'yaml' | 'json';

export const tableOption = (): Option =>
  new Option('-o, --output <format>', 'how').choices(['table', 'yaml', 'json']).default('table');
export const textOption = (): Option =>
  new Option('-o, --output <format>', 'how').choices(['text', 'yaml', 'json']).default('text');

export async function formatValue(value: object, output: 'yaml' | 'json'): Promise<string> {
  if (output === 'json') return JSON.stringify(value, null, 2);
  const { formatYaml } = await import('./yaml-output.ts');
  return formatYaml([value]);
}
