// Where code of the build stands in the sources: through the build's source maps.
import { existsSync, readFileSync } from 'node:fs';
import { SourceMap } from 'node:module';
import { fileURLToPath } from 'node:url';

const maps = new Map();

/** FILE:LINE; line and column count from 0. Node's own files have no map and stay as they are. */
export function sourcePlace(url, line, column) {
  if (url === '') return 'native';
  if (!url.startsWith('file:')) return `${url}:${line + 1}`;
  const path = fileURLToPath(url);
  const entry = mapOf(path)?.findEntry(line, Math.max(column, 0));
  if (entry?.originalSource === undefined) return `${path.split('/').slice(-2).join('/')}:${line + 1}`;
  return `${entry.originalSource.replace(/^(\.\.\/)+/, '')}:${entry.originalLine + 1}`;
}

function mapOf(path) {
  if (!maps.has(path)) {
    const file = `${path}.map`;
    maps.set(path, existsSync(file) ? new SourceMap(JSON.parse(readFileSync(file, 'utf8'))) : null);
  }
  return maps.get(path);
}
