/** A manifest: text with resources, YAML or JSON, as people write it. Every mistake is found at once, with its line and column. */
import {
  Composer,
  type CST,
  type Document,
  isAlias,
  isCollection,
  isMap,
  isNode,
  isPair,
  isSeq,
  Lexer,
  LineCounter,
  type Node,
  Parser,
  visit,
} from 'yaml';
import { limits } from './limits.ts';
import type { Problem } from './problem.ts';
import { keyOf, type Resource } from './resources.ts';
import { formatPath, parsePath } from './schema-problems.ts';
import { describeObject, judgeResource } from './validate.ts';

export interface Manifest {
  readonly resources: readonly Resource[];
  readonly problems: readonly Problem[];
  /** A problem that was found later, with its place in this text; as it is when it is of none of the resources. */
  readonly locate: (problem: Problem) => Problem;
}

/** YAML aliases may not blow up a file: this many nodes at most come out of them. */
const aliasCountMax = 100;
type Keys = readonly (string | number)[];

/** Several documents, lists (`kind: List`, or a sequence at the top) and JSON are all fine. An empty text has no resources. */
export function readManifest(text: string, file: string): Manifest {
  if (Buffer.byteLength(text) > limits.manifestBytesMax)
    return {
      resources: [],
      problems: [{ file, path: '', message: `is larger than ${limits.manifestBytesMax} bytes` }],
      locate: (problem) => problem,
    };
  const lines = new LineCounter();
  const reader = new ManifestReader(file, lines);
  const composer = new Composer({ uniqueKeys: false, stringKeys: true, prettyErrors: false });
  const tokens = boundedTokens(text, lines, (offset) => reader.reportTooDeep(offset));
  for (const document of composer.compose(tokens)) reader.read(document);
  reader.reportOmitted();
  return { resources: reader.resources, problems: reader.problems, locate: (problem) => reader.locate(problem) };
}

/**
 * The tokens of a text, until it nests too deep. The parser keeps a stack of its own, but the composer that reads these tokens calls
 * itself for each level: an overflow there can happen while V8 compiles a regular expression, and that ends the process, uncaught.
 */
function* boundedTokens(text: string, lines: LineCounter, onTooDeep: (offset: number) => void): Generator<CST.Token> {
  const parser = new Parser(lines.addNewLine);
  lines.addNewLine(0);
  for (const lexeme of new Lexer().lex(text)) {
    const { offset } = parser;
    yield* parser.next(lexeme);
    // The document itself is at the bottom of the stack.
    if (parser.stack.length - 1 <= limits.manifestLevelsMax) continue;
    onTooDeep(offset);
    return;
  }
  yield* parser.end();
}

class ManifestReader {
  readonly resources: Resource[] = [];
  readonly problems: Problem[] = [];
  private readonly lineOfKey = new Map<string, number>();
  /** By `describeObject`: the document, and the way from its root. */
  private readonly written = new Map<string, { readonly root: unknown; readonly keys: Keys }>();
  private omitted = 0;

  constructor(
    private readonly file: string,
    private readonly lines: LineCounter,
  ) {}

  read(document: Document.Parsed): void {
    for (const error of [...document.errors, ...document.warnings]) this.report(error.pos[0], '', error.message, null);
    if (document.errors.length > 0) return;
    let value: unknown;
    try {
      if (!this.checkKeys(document) || !this.checkAliases(document)) return;
      value = document.toJS({ maxAliasCount: aliasCountMax });
    } catch (error) {
      this.report(document.range[0], '', `cannot be read: ${(error as Error).message}`, null);
      return;
    }
    if (value !== null) this.readValue(value, document.contents, []);
  }

  reportTooDeep(offset: number): void {
    this.report(offset, '', `nests deeper than ${limits.manifestLevelsMax} levels; nothing after this was read`, null);
  }

  /** The last line of a list of problems that is too long. */
  reportOmitted(): void {
    if (this.omitted > 0)
      this.problems.push({ file: this.file, path: '', message: `${this.omitted} more problems are not shown` });
  }

  /** True when no map has a key twice. The composer would compare each key with each other one: 78 s for 60,000. */
  private checkKeys(document: Document.Parsed): boolean {
    let areUnique = true;
    visit(document, {
      Map: (_key, map) => {
        const seen = new Set<string>();
        for (const { key } of map.items) {
          const text = keyText(key);
          if (seen.has(text)) {
            areUnique = false;
            this.report(startOf(key) ?? document.range[0], '', 'Map keys must be unique', null);
          }
          seen.add(text);
        }
      },
    });
    return areUnique;
  }

  /**
   * True when each alias stands behind its anchor and outside of what it names: a value that holds itself has no end, and whoever
   * walks it has none either.
   */
  private checkAliases(document: Document.Parsed): boolean {
    const named = new Map<string, unknown>();
    let areSound = true;
    visit(document, {
      Node: (_key, node, around) => {
        if (!isAlias(node)) {
          if (node.anchor !== undefined) named.set(node.anchor, node);
          return;
        }
        const { source } = node;
        const target = named.get(source);
        const isInside = around.some((ancestor) => ancestor === target);
        if (target !== undefined && !isInside) return;
        areSound = false;
        const message = isInside
          ? `the alias *${source} stands inside of what it names`
          : `the alias *${source} has no anchor &${source} before it`;
        this.report(startOf(node) ?? document.range[0], '', message, null);
      },
    });
    return areSound;
  }

  /** A sequence holds resources and Lists, a List holds resources; no deeper, because aliases make a value deeper than its text. */
  private readValue(value: unknown, root: unknown, keys: Keys): void {
    if (Array.isArray(value) && keys.length === 0) {
      for (const [i, item] of value.entries()) this.readValue(item, root, [i]);
      return;
    }
    const list = value as { kind?: unknown; items?: unknown } | null;
    if (list?.kind === 'List' && Array.isArray(list.items) && keys.length < 2) {
      for (const [i, item] of list.items.entries()) this.readValue(item, root, [...keys, 'items', i]);
      return;
    }
    const judged = judgeResource(value);
    if ('problems' in judged) {
      const object = describeObject(value);
      for (const { keys: way, isKey, message } of judged.problems)
        this.report(offsetOf(root, [...keys, ...way], isKey), formatPath(way), message, object);
      return;
    }
    const { resource } = judged;
    const offset = offsetOf(root, keys, false);
    const line = this.lines.linePos(offset).line;
    const key = keyOf(resource);
    const first = this.lineOfKey.get(key);
    if (first !== undefined) {
      this.report(
        offset,
        'metadata.name',
        `is here a second time, the first is on line ${first}`,
        describeObject(resource),
      );
      return;
    }
    this.lineOfKey.set(key, line);
    this.written.set(describeObject(resource) ?? key, { root, keys });
    this.resources.push(resource);
  }

  locate(problem: Problem): Problem {
    const written = this.written.get(problem.object ?? '');
    if (written === undefined) return problem;
    const offset = offsetOf(written.root, [...written.keys, ...parsePath(problem.path)], false);
    const { line, col } = this.lines.linePos(offset);
    return { ...problem, file: this.file, line, column: col };
  }

  private report(offset: number, path: string, message: string, object: string | null): void {
    if (this.problems.length >= limits.problemsPerManifestMax) {
      this.omitted++;
      return;
    }
    const { line, col } = this.lines.linePos(offset);
    this.problems.push({ file: this.file, path, message, line, column: col, ...(object === null ? {} : { object }) });
  }
}

/** Where the value behind these keys is written; the nearest place around it when it is not written at all (a missing field, an alias). */
function offsetOf(root: unknown, keys: Keys, isKey: boolean): number {
  let node: unknown = root;
  let offset = startOf(root) ?? 0;
  for (const [depth, key] of keys.entries()) {
    if (isMap(node)) {
      const pair = node.items.find((item) => isPair(item) && keyText(item.key) === String(key));
      if (pair === undefined) break;
      const wantsKey = isKey && depth === keys.length - 1;
      offset = (wantsKey ? startOf(pair.key) : (startOf(pair.value) ?? startOf(pair.key))) ?? offset;
      node = pair.value;
    } else if (isSeq(node)) {
      node = node.items[Number(key)];
      offset = startOf(node) ?? offset;
    } else {
      break;
    }
  }
  return offset;
}

const startOf = (node: unknown): number | undefined => (isNode(node) ? (node as Node).range?.[0] : undefined);
const keyText = (key: unknown): string =>
  isNode(key) && !isCollection(key) ? String((key as { value?: unknown }).value) : String(key);
