'use strict';
// The licences of what is delivered inside our files: their texts have to come along.

const fs = require('node:fs');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { requireCargo } = require('../requirements.cjs');
const { ROOT } = require('../steps.cjs');

const LICENCE_FILE = /^(licen[cs]e|copying|notice|unlicense)/i;

/** One text of the packages `{name, version, license, folder}`; each licence text stands once. */
function textOfLicences(heading, packages) {
  const byText = new Map();
  for (const { name, version, license, folder } of packages) {
    const names = fs
      .readdirSync(folder)
      .filter((each) => LICENCE_FILE.test(each) && fs.statSync(path.join(folder, each)).isFile())
      .sort();
    const texts = names.map((each) => fs.readFileSync(path.join(folder, each), 'utf8').replaceAll('\r\n', '\n').trim());
    // Some packages come without a file: then their own word counts.
    for (const text of texts.length > 0 ? texts : [`Licensed under ${license}; the package holds no text of it.`]) {
      byText.set(text, [...(byText.get(text) ?? []), `${name} ${version} (${license})`]);
    }
  }
  const sections = [...byText].map(([text, names]) => `${names.join('\n')}\n\n${text}\n`);
  return `${heading}\n\n${sections.join(`\n${'-'.repeat(80)}\n\n`)}`;
}

/** The crates that are linked into the binary of a target, as packages. */
function cratesOf(triple) {
  requireCargo();
  const args = ['metadata', '--format-version', '1', '--locked', '--filter-platform', triple];
  const stdout = execFileSync('cargo', args, { cwd: ROOT, encoding: 'utf8', maxBuffer: 1 << 28 });
  const { packages, resolve, workspace_members: members } = JSON.parse(stdout);
  const byId = new Map(packages.map((each) => [each.id, each]));
  const nodes = new Map(resolve.nodes.map((node) => [node.id, node]));
  const linked = new Set();
  const add = (id) => {
    if (linked.has(id)) return;
    linked.add(id);
    // What only builds or tests is not delivered.
    for (const { pkg, dep_kinds: kinds } of nodes.get(id).deps) if (kinds.some(({ kind }) => kind === null)) add(pkg);
  };
  add(members.find((id) => byId.get(id).name === 'claude-mem-native'));
  return [...linked]
    .filter((id) => !members.includes(id))
    .map((id) => byId.get(id))
    .map(({ name, version, license, manifest_path: manifest }) => ({
      name,
      version,
      license,
      folder: path.dirname(manifest),
    }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

module.exports = { cratesOf, textOfLicences };
