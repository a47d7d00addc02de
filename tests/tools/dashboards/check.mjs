// Holds dashboards/*.json to Grafana's types, and reads the provisioning files.
// usage: node check.mjs FOLDER      (FOLDER is what npm.sh prints)
//
// An import of a JSON file widens its texts to `string`, which no enum takes. So each file becomes a
// module with the JSON as a literal: then misspelled keys and values are errors.
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const root = resolve(here, '../../..');
const folder = resolve(process.argv[2]);
const scratch = mkdtempSync(join(folder, 'check-'));
const problems = [];

const dashboards = join(root, 'dashboards');
const files = readdirSync(dashboards).filter((file) => file.endsWith('.json'));
const checked = ['types.ts', 'wrong.ts'];
for (const file of checked) copyFileSync(join(here, file), join(scratch, file));
for (const file of files) {
  const text = readFileSync(join(dashboards, file), 'utf8').trimEnd();
  const module = `${file}.ts`;
  // The literal begins in the first line, so errors tell the lines of the JSON file.
  writeFileSync(join(scratch, module), `import type { Board } from './types'; export const board: Board = ${text};\n`);
  checked.push(module);
}
const compiler = join(folder, 'node_modules/typescript/bin/tsc');
const options = ['--noEmit', '--strict', '--skipLibCheck', '--pretty', 'false', '--target', 'es2022', '--module', 'esnext', '--moduleResolution', 'bundler'];
const compiled = spawnSync(process.execPath, [compiler, ...options, ...checked], { cwd: scratch, encoding: 'utf8' });
rmSync(scratch, { recursive: true });
if (compiled.status !== 0) problems.push(compiled.stdout + compiled.stderr);

const { parse } = createRequire(join(folder, 'package.json'))('yaml');
const provisioned = (path) => parse(readFileSync(join(root, 'deploy/grafana/provisioning', path), 'utf8'));
const [source] = provisioned('datasources/kmswatch.yml').datasources;
if (source.type !== 'prometheus' || !source.url.startsWith('http')) problems.push(`no Prometheus: ${JSON.stringify(source)}`);
const [provider] = provisioned('dashboards/kmswatch.yml').providers;
if (provider.type !== 'file' || !provider.options.path.startsWith('/')) problems.push(`no folder: ${JSON.stringify(provider)}`);

if (problems.length > 0) {
  console.error(problems.join('\n'));
  process.exit(1);
}
console.log(`${files.length} dashboards and their provisioning are well-typed`);
