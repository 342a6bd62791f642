// The bundler makes a variable (`var`) of each constant, class and import at the top of a chunk; here they become constants again, and functions and what is exported do, too. Optimised
// code has the value of a constant in it, and knows its shape; a variable it loads, and looks at anew, each time (ADR 26).

import { posix } from 'node:path';
import remapping from '@jridgewell/remapping';
import { parse } from 'acorn';
import MagicString from 'magic-string';

/** Behind the name under which an import arrives; its own name is that of the constant. */
const importSuffix = '$import';
/** Behind the name of what leaves. */
const exportSuffix = '$export';

/**
 * @param chunks all of a build, `{ path, code, map }`: ES modules by path, with their source maps as text
 * @returns the same, where each variable and function of the top that has its value from its declaration alone is a constant, and each import of one, too
 */
export function withConstants(chunks) {
  const parsed = new Map(chunks.map((chunk) => [chunk.path, parseChunk(chunk)]));
  return chunks.map(({ path, code, map }) => {
    for (const suffix of [importSuffix, exportSuffix])
      if (code.includes(suffix)) throw new Error(`${path} has the name ${suffix} already`);
    const changed = new MagicString(code);
    const chunk = parsed.get(path);
    declareConstants(chunk, changed);
    importConstants(chunk, parsed, changed);
    // Within a circle another chunk may call a function, or look at what is exported, before this one has run.
    if (!chunk.imports.some(({ from }) => parsed.has(from) && reaches(parsed.get(from), path, parsed))) {
      declareFunctions(chunk, changed);
      exportConstants(chunk, changed);
    }
    const changes = changed.generateMap({ source: path, hires: 'boundary' });
    const joined = remapping([changes, JSON.parse(map)], () => null);
    return { path, code: changed.toString(), map: joined.toString() };
  });
}

function parseChunk({ path, code }) {
  const { body } = parse(code, { ecmaVersion: 'latest', sourceType: 'module' });
  const assigned = new Set();
  collectAssigned(body, assigned);
  const exports = new Map();
  const imports = [];
  for (const statement of body) {
    if (statement.type === 'ImportDeclaration')
      imports.push({ statement, from: posix.join(posix.dirname(path), statement.source.value) });
    if (statement.type === 'ExportNamedDeclaration' && statement.source === null)
      for (const { exported, local } of statement.specifiers) exports.set(exported.name, local.name);
  }
  return { path, body, assigned, exports, imports, constants: constantsOf(body, assigned) };
}

/** Names of the top whose value is there once their declaration has run, and stays. */
function constantsOf(body, assigned) {
  const names = body.flatMap((statement) => {
    if (statement.type === 'FunctionDeclaration') return [statement.id.name];
    if (statement.type !== 'VariableDeclaration') return [];
    return statement.declarations.filter(({ init }) => init !== null).flatMap(namesOf);
  });
  return new Set(names.filter((name) => !assigned.has(name)));
}

/** What a declaration declares, with a pattern as well. */
function namesOf({ id }) {
  const names = new Set();
  collectTargets(id, names);
  return [...names];
}

function declareConstants({ body, constants }, changed) {
  for (const statement of body) {
    if (statement.type !== 'VariableDeclaration' || statement.kind === 'const') continue;
    const { declarations, kind, start } = statement;
    const isConstant = (one) => one.init !== null && namesOf(one).every((name) => constants.has(name));
    const kinds = declarations.map((one) => (isConstant(one) ? 'const' : kind));
    changed.overwrite(start, start + kind.length, kinds[0]);
    for (let i = 1; i < kinds.length; i += 1)
      if (kinds[i] !== kinds[i - 1]) changed.overwrite(declarations[i - 1].end, declarations[i].start, `;${kinds[i]} `);
  }
}

/** At the very top, so that each is there as early as a declared one would be. */
function declareFunctions({ body, constants }, changed) {
  const first = body.find(({ type }) => type !== 'ImportDeclaration');
  for (const statement of body) {
    const { type, start, end, id } = statement;
    if (type !== 'FunctionDeclaration' || !constants.has(id.name)) continue;
    changed.overwrite(id.start, id.end, '');
    changed.appendRight(start, `const ${id.name}=`);
    changed.appendLeft(end, ';\n');
    if (statement !== first) changed.move(start, end, first.start);
  }
}

/** What is exported is a variable to V8 in its own chunk, too: what leaves gets a name of its own. */
function exportConstants({ body, constants }, changed) {
  const last = body.at(-1);
  if (last?.type !== 'ExportNamedDeclaration' || last.source !== null) return;
  const leaving = last.specifiers.filter(({ local }) => constants.has(local.name));
  for (const { start, end, local, exported } of leaving)
    changed.overwrite(start, end, `${local.name}${exportSuffix} as ${exported.name}`);
  const names = new Set(leaving.map(({ local }) => local.name));
  if (names.size > 0)
    changed.appendRight(
      last.start,
      `const ${[...names].map((name) => `${name}${exportSuffix}=${name}`).join(',\n')};\n`,
    );
}

/** Not what is exported again, and not between chunks that import each other: there the value may come later. */
function importConstants(chunk, parsed, changed) {
  const passedOn = new Set(chunk.exports.values());
  for (const { statement, from } of chunk.imports) {
    const source = parsed.get(from);
    if (source === undefined || reaches(source, chunk.path, parsed)) continue;
    const names = [];
    for (const { type, imported, local, start, end } of statement.specifiers) {
      if (type !== 'ImportSpecifier' || passedOn.has(local.name)) continue;
      if (!source.constants.has(source.exports.get(imported.name))) continue;
      changed.overwrite(start, end, `${imported.name} as ${local.name}${importSuffix}`);
      names.push(local.name);
    }
    if (names.length > 0)
      changed.appendLeft(
        statement.end,
        `\nconst ${names.map((name) => `${name}=${name}${importSuffix}`).join(',\n')};\n`,
      );
  }
}

function reaches(chunk, path, parsed, seen = new Set()) {
  if (chunk.path === path) return true;
  if (seen.has(chunk.path)) return false;
  seen.add(chunk.path);
  return chunk.imports.some(({ from }) => parsed.has(from) && reaches(parsed.get(from), path, parsed, seen));
}

/** Adds every name that anything in `node` assigns to, in whatever scope. */
function collectAssigned(node, names) {
  if (Array.isArray(node)) {
    for (const each of node) collectAssigned(each, names);
    return;
  }
  if (node === null || typeof node !== 'object') return;
  if (node.type === 'AssignmentExpression') collectTargets(node.left, names);
  else if (node.type === 'UpdateExpression') collectTargets(node.argument, names);
  else if (node.type === 'ForInStatement' || node.type === 'ForOfStatement') collectTargets(node.left, names);
  for (const value of Object.values(node)) if (typeof value === 'object') collectAssigned(value, names);
}

function collectTargets(pattern, names) {
  switch (pattern?.type) {
    case 'Identifier':
      names.add(pattern.name);
      break;
    case 'ObjectPattern':
      for (const property of pattern.properties) collectTargets(property.value ?? property.argument, names);
      break;
    case 'ArrayPattern':
      for (const element of pattern.elements) collectTargets(element, names);
      break;
    case 'AssignmentPattern':
      collectTargets(pattern.left, names);
      break;
    case 'RestElement':
      collectTargets(pattern.argument, names);
      break;
    case 'VariableDeclaration':
      for (const { id } of pattern.declarations) collectTargets(id, names);
  }
}
