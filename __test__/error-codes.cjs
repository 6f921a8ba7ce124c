'use strict';
// The codes of errors that there are: those of the engine, and that of the loader, which has no engine.

const fs = require('node:fs');
const path = require('node:path');

const ROOT = path.join(__dirname, '..');

function errorCodes() {
  const loader = fs.readdirSync(path.join(ROOT, 'loader')).map((name) => path.join('loader', name));
  const found = ['src/error.rs', ...loader.filter((name) => name.endsWith('.cjs'))].flatMap((name) => {
    const source = fs.readFileSync(path.join(ROOT, name), 'utf8');
    return [...source.matchAll(/["'](ERR_[A-Z_]+)["']/g)].map(([, code]) => code);
  });
  return [...new Set(found)].sort();
}

module.exports = { errorCodes };
