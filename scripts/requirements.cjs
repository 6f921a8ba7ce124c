'use strict';
// What the machine must have, and one sentence with the remedy for what is missing.
// Runs before anything is installed and on any Node, however old: built-ins and plain syntax only.

const fs = require('fs');
const os = require('os');
const path = require('path');
const { spawnSync } = require('child_process');

const MINIMUM_NODE = '20.16.0';
const MINIMUM_CARGO = '1.91.0';

/** A missing requirement; its message is all that the user needs to see. */
class Missing extends Error {}

function isOlder(version, minimum) {
  const have = version.split('.').map(Number);
  const want = minimum.split('.').map(Number);
  for (let place = 0; place < 3; place += 1) {
    if (have[place] !== want[place]) return have[place] < want[place];
  }
  return false;
}

/** Throws unless this Node is new enough. */
function requireNode(version) {
  const have = version || process.versions.node;
  if (isOlder(have, MINIMUM_NODE)) {
    throw new Missing(
      'Node ' +
        have +
        ' is too old: claude-mem-native needs Node 20.16 or newer; install it from https://nodejs.org and start again.',
    );
  }
}

/** What `command` prints, or null where it cannot be run. */
function output(command, args) {
  const answer = spawnSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  return answer.error || answer.status !== 0 ? null : answer.stdout;
}

/** Throws unless cargo can be run; finds a rustup installation that is not on the PATH. */
function requireCargo() {
  const cargoHome = process.env.CARGO_HOME || path.join(os.homedir(), '.cargo');
  const cargoBin = path.join(cargoHome, 'bin');
  if (fs.existsSync(cargoBin) && !(process.env.PATH || '').split(path.delimiter).includes(cargoBin)) {
    process.env.PATH = (process.env.PATH || '') + path.delimiter + cargoBin;
  }
  const said = output('cargo', ['--version']);
  if (said === null) {
    throw new Missing(
      'cargo was not found, and the native module is built with it: install Rust from https://rustup.rs, open a new terminal and start again.',
    );
  }
  const version = (/(\d+\.\d+\.\d+)/.exec(said) || [])[1];
  if (version && isOlder(version, MINIMUM_CARGO)) {
    throw new Missing(
      'cargo ' +
        version +
        ' is too old: Rust 1.91 or newer is needed; run "rustup update stable" (or install Rust from https://rustup.rs) and start again.',
    );
  }
}

function hasVisualStudioTools() {
  if (output('cl', []) !== null) return true;
  const installer = path.join(
    process.env['ProgramFiles(x86)'] || 'C:\\Program Files (x86)',
    'Microsoft Visual Studio',
    'Installer',
  );
  const found = output(path.join(installer, 'vswhere.exe'), [
    '-products',
    '*',
    '-requires',
    'Microsoft.VisualStudio.Component.VC.*',
    '-requiresAny',
    '-property',
    'installationPath',
  ]);
  return found !== null && found.trim() !== '';
}

const COMPILED = {
  C: { variable: 'CC', command: 'cc', package: 'gcc', what: 'SQLite is' },
  'C++': { variable: 'CXX', command: 'c++', package: 'g++', what: 'the vector index is' },
};

/** Throws unless there is a compiler of `language`, "C" or "C++". */
function requireCompiler(language) {
  const { variable, command, package: name, what } = COMPILED[language];
  if (process.platform === 'win32') {
    const host = output('rustc', ['-vV']) || '';
    const found = /host: .*-gnu/.test(host) ? output(name, ['--version']) !== null : hasVisualStudioTools();
    if (!found) {
      throw new Missing(
        'No ' +
          language +
          ' compiler was found, and ' +
          what +
          ' compiled with one: install "Desktop development with C++" of the Visual Studio Build Tools and start again.',
      );
    }
    return;
  }
  const compiler = (process.env[variable] || command).split(' ')[0];
  if (output(compiler, ['--version']) === null) {
    throw new Missing(
      'No ' +
        language +
        ' compiler was found ("' +
        compiler +
        '" cannot be run), and ' +
        what +
        ' compiled with one: ' +
        (process.platform === 'darwin'
          ? 'run "xcode-select --install"'
          : 'install ' + name + ' (Debian and Ubuntu: "sudo apt-get install build-essential")') +
        ' and start again.',
    );
  }
}

/** Throws unless the compilers are there which SQLite's and usearch's sources need. */
function requireCompilers() {
  requireCompiler('C');
  requireCompiler('C++');
}

module.exports = { Missing, requireCargo, requireCompilers, requireNode };
