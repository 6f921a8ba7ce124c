'use strict';
// Gets a runtime's program out of its npm package, into a folder that git ignores and that is kept.

const fs = require('node:fs');
const path = require('node:path');
const { execFile } = require('node:child_process');
const { promisify } = require('node:util');
const { npmCommand } = require('../install.cjs');
const { ROOT } = require('../steps.cjs');
const { packageOf, place, titleOf } = require('./versions.cjs');

const CACHE = path.join(ROOT, 'node_modules', '.cache', 'runtimes');
const INSTALL_MS = 300_000;

/** A runtime that cannot be had here; the message says why. */
class NotAvailable extends Error {
  constructor(reason) {
    super(reason);
    this.name = 'NotAvailable';
  }
}

/** The program of `runtime`, installed where it is not yet. Throws `NotAvailable`. */
async function installedRuntime(runtime) {
  const name = packageOf(runtime);
  if (!name) throw new NotAvailable(`no package carries ${titleOf(runtime)} for ${place()}`);
  const folder = path.join(CACHE, `${runtime.kind}-${runtime.version}`);
  const file = process.platform === 'win32' ? `${runtime.kind}.exe` : runtime.kind;
  const program = path.join(folder, 'node_modules', name, 'bin', file);
  if (!fs.existsSync(program)) await install(`${name}@${runtime.version}`, folder);
  await assertVersion(runtime, program);
  return program;
}

async function install(wanted, folder) {
  fs.mkdirSync(CACHE, { recursive: true });
  // Beside its place, and moved there whole: a run that is cut off leaves no half of it.
  const fresh = fs.mkdtempSync(`${folder}-`);
  try {
    const quiet = ['--ignore-scripts', '--no-audit', '--no-fund', '--no-package-lock', '--loglevel=error'];
    const [command, args, options] = npmCommand(['install', '--prefix', fresh, ...quiet, '--fetch-retries=1', wanted]);
    await promisify(execFile)(command, args, { ...options, cwd: fresh, timeout: INSTALL_MS });
    fs.rmSync(folder, { recursive: true, force: true });
    fs.renameSync(fresh, folder);
  } catch (error) {
    const said = `${error.stderr || error.message}`.trim().split('\n').slice(0, 3).join(' ');
    throw new NotAvailable(`${wanted} cannot be installed: ${said}`);
  } finally {
    fs.rmSync(fresh, { recursive: true, force: true });
  }
}

/** A program that another processor or libc refuses is no runtime, nor is one of another version. */
async function assertVersion(runtime, program) {
  const print = 'console.log(process.versions.bun ?? process.versions.node)';
  try {
    const { stdout } = await promisify(execFile)(program, ['-e', print], { timeout: INSTALL_MS });
    if (stdout.trim() !== runtime.version) throw new Error(`it says that it is ${stdout.trim()}`);
  } catch (error) {
    throw new NotAvailable(`${program} is not ${titleOf(runtime)}: ${error.message.split('\n')[0]}`);
  }
}

module.exports = { CACHE, NotAvailable, installedRuntime };
