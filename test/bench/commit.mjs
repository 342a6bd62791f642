// Which commit a run measures.
import { execFileSync } from 'node:child_process';

/** What is measured; `+` for changes that no commit has. */
export function commitOf() {
  try {
    const git = (...words) =>
      execFileSync('git', words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
    return git('rev-parse', '--short', 'HEAD') + (git('status', '--porcelain', '-uno') === '' ? '' : '+');
  } catch {
    // A release has no repository.
    return 'of no commit';
  }
}
