/** What a PromQL expression asks for: metrics, the labels that it chooses and groups by. Enough of the grammar for that, and no more. */

export interface Matcher {
  readonly label: string;
  readonly operator: string;
  readonly value: string;
}

export interface Selector {
  readonly metric: string;
  readonly matchers: readonly Matcher[];
}

export interface PromqlNames {
  readonly selectors: readonly Selector[];
  /** Of `by`, `without`, `on`, `ignoring`, `group_left`, `group_right`. */
  readonly grouping: readonly string[];
}

const groupers = new Set(['by', 'without', 'on', 'ignoring', 'group_left', 'group_right']);
const words = new Set(['sum', 'max', 'min', 'avg', 'count', 'topk', 'and', 'or', 'unless', 'bool', 'offset']);
const token = /\s*("(?:\\.|[^"\\])*"|\[[^\]]*\]|[a-zA-Z_:][\w:]*|\d[\w.]*|=~|!~|!=|==|>=|<=|[-+*/%^(){},=<>])\s*/y;

/** Throws at what it does not know, rather than pass over a name. */
export function namesIn(expression: string): PromqlNames {
  const tokens = tokensOf(expression);
  const selectors: Selector[] = [];
  const grouping: string[] = [];
  for (let at = 0; at < tokens.length; at++) {
    const word = tokens[at]!;
    if (word === '{') throw new Error(`a selector without a metric: ${expression}`);
    if (!/^[a-zA-Z_:]/.test(word)) continue;
    if (groupers.has(word)) {
      const end = tokens.indexOf(')', at);
      grouping.push(...tokens.slice(at + 2, end).filter((each) => each !== ','));
      at = end;
    } else if (tokens[at + 1] === '{') {
      const end = tokens.indexOf('}', at);
      selectors.push({ metric: word, matchers: matchersOf(tokens.slice(at + 2, end), expression) });
      at = end;
    } else if (tokens[at + 1] !== '(' && !words.has(word)) selectors.push({ metric: word, matchers: [] });
  }
  return { selectors, grouping };
}

function tokensOf(expression: string): string[] {
  const tokens: string[] = [];
  token.lastIndex = 0;
  while (token.lastIndex < expression.length) {
    const at = token.lastIndex;
    const found = token.exec(expression);
    if (found === null) throw new Error(`not understood: ${expression.slice(at)}`);
    tokens.push(found[1]!);
  }
  return tokens;
}

/** `label`, operator, string, comma, again. */
function matchersOf(tokens: readonly string[], expression: string): Matcher[] {
  const matchers: Matcher[] = [];
  for (let at = 0; at < tokens.length; at += 4) {
    const [label, operator, value, comma = ','] = tokens.slice(at, at + 4);
    if (value === undefined || comma !== ',') throw new Error(`not understood: the matchers of ${expression}`);
    matchers.push({ label: label!, operator: operator!, value: JSON.parse(value) as string });
  }
  return matchers;
}
