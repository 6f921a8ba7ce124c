'use strict';
// Peers in Python: packages in a folder of their own beside the other peers, installed by pip when a trial needs them.

const fs = require('node:fs');
const { spawnSync } = require('node:child_process');

const COMMANDS = ['python3', 'python'];

/**
 * Packages for one purpose. `folder`: where they lie; `what`: pip's arguments that name them, with exact versions;
 * `imports`: the modules that must be there; `title`: what is left out without them.
 */
function pythonPackages({ folder, what, imports, title }) {
  const env = { ...process.env, PYTHONPATH: folder, PYTHONDONTWRITEBYTECODE: '1' };
  const runs = (command, args) => spawnSync(command, args, { env, stdio: 'ignore' }).status === 0;

  /** The command of a Python that has the packages, or undefined. */
  const python = () =>
    fs.existsSync(folder) ? COMMANDS.find((command) => runs(command, ['-c', `import ${imports}`])) : undefined;

  /** Has pip install the packages where they are missing. Returns a sentence for what cannot take part. */
  function install() {
    if (python()) return [];
    const command = COMMANDS.find((name) => runs(name, ['-m', 'pip', '--version']));
    if (!command) return [`${title}: Python 3 with pip was not found`];
    process.stdout.write(`bench: installing ${title} with pip …\n`);
    // Made aside and renamed, so that an interrupted run leaves no half of it.
    const making = `${folder}.new`;
    fs.rmSync(making, { recursive: true, force: true });
    const quiet = ['--quiet', '--disable-pip-version-check', '--no-input', '--retries', '1', '--timeout', '15'];
    const binary = ['--only-binary', ':all:', '--no-deps', '--target', making];
    const child = spawnSync(command, ['-m', 'pip', 'install', ...quiet, ...binary, ...what], { encoding: 'utf8' });
    if (child.status !== 0) {
      fs.rmSync(making, { recursive: true, force: true });
      const said = child.stderr.trim().split('\n').slice(-4).join('\n  ');
      return [`${title}: pip could not install it:\n  ${said}`];
    }
    fs.rmSync(folder, { recursive: true, force: true });
    fs.renameSync(making, folder);
    return python() ? [] : [`${title}: it was installed but cannot be imported`];
  }

  return { env, install, python };
}

module.exports = { pythonPackages };
