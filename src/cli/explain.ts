/** `weft explain`: what a field of a resource means, out of the schemas that resources are judged by. Asks nobody. */
import { Command } from 'commander';
import type { FieldFacts } from '../model/field-facts.ts';
import { type Kind, kinds } from '../model/resources.ts';
import { nearest } from '../model/similar-names.ts';
import { kindNames, parseKind } from './kind-names.ts';
import { formatValue, type TextOutput, textOption } from './output-flag.ts';
import { type Terminal, usageError } from './terminal.ts';

interface ExplainFlags {
  readonly recursive?: true;
  readonly output: TextOutput;
}

export function explainCommand(terminal: Terminal): Command {
  return new Command('explain')
    .description('say what a field of a resource means: type, range, default')
    .argument('<field>', `KIND or KIND.FIELD.FIELD; kinds: ${kindNames}`)
    .option('--recursive', 'every field within, one a line')
    .addOption(textOption())
    .addHelpText(
      'after',
      `
Examples:
  weft explain service
  weft explain service.spec.loadBalancer.policy
  weft explain httproute.spec.rules.matches
  weft explain trafficpolicy --recursive`,
    )
    .action(async (field: string, { recursive, output }: ExplainFlags) => {
      const { kind, facts, fields } = await find(field);
      if (recursive === true) {
        const { allFields } = await import('../model/field-facts.ts');
        const within = [...allFields(kind)].filter(
          (each) => each.field === facts.field || each.field.startsWith(`${facts.field}.`),
        );
        return terminal.out(output === 'text' ? within.map(lineOf).join('\n') : await formatValue(within, output));
      }
      if (output !== 'text') return terminal.out(await formatValue({ ...facts, fields }, output));
      terminal.out(format(kinds[kind].apiVersion, facts, fields));
    });
}

interface Explained {
  readonly kind: Kind;
  readonly facts: FieldFacts;
  readonly fields: readonly FieldFacts[];
}

/** @throws CliError (exit code 2) that names what there is instead. */
async function find(text: string): Promise<Explained> {
  const [first = '', ...names] = text.replace(/\[[^\]]*\]/g, '').split('.');
  const kind = parseKind(first);
  const { findField } = await import('../model/field-facts.ts');
  const found = findField(kind, names);
  if ('facts' in found) return { kind, ...found };
  const { missing, below, known } = found;
  if (known.length === 0) throw usageError(`${below} has no fields.`);
  const near = nearest(missing, known);
  const meant = near === null ? '' : ` Did you mean ${near}?`;
  throw usageError(`${below} has no field "${missing}".${meant} Its fields are ${known.join(', ')}.`);
}

function format(apiVersion: string, facts: FieldFacts, fields: readonly FieldFacts[]): string {
  const lines = [`${facts.field} (${apiVersion}): ${summaryOf(facts)}`, '', facts.description];
  if (facts.default !== null) lines.push(`Default: ${facts.default}.`);
  if (fields.length > 0) lines.push('', 'Fields:');
  for (const each of fields) {
    lines.push(`  ${nameOf(each)}: ${summaryOf(each)}`);
    lines.push(`      ${each.description}${each.default === null ? '' : ` Default: ${each.default}.`}`);
  }
  return lines.join('\n');
}

/** `text, required; one of Service, HTTPRoute`. */
function summaryOf({ type, isRequired, expected }: FieldFacts): string {
  return [`${type}${isRequired ? ', required' : ''}`, expected].filter((part) => part !== '').join('; ');
}

function lineOf(facts: FieldFacts): string {
  const depth = facts.field.split('.').length - 1;
  return `${'  '.repeat(depth)}${nameOf(facts)}: ${summaryOf(facts)}`;
}

const nameOf = ({ field }: FieldFacts): string => field.split('.').at(-1)!;
