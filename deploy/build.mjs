// Bundles src/ into dist/.
import { mkdirSync, renameSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { bundle } from './bundle.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
// Built aside and moved into place, so that nobody ever starts half a build.
const aside = `${root}node_modules/.cache/weft/dist-${process.pid}`;
mkdirSync(`${root}node_modules/.cache/weft`, { recursive: true });

await bundle(aside);
rmSync(`${root}dist`, { recursive: true, force: true });
renameSync(aside, `${root}dist`);
