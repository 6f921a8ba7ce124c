'use strict';
// The one error that says that there is no binary which can be loaded, why, and what helps.
const { existsSync } = require('node:fs');
const path = require('node:path');
const { BINARY_VARIABLE, NAME, ROOT, packageOf } = require('./candidates.cjs');
const { platformText } = require('./platform.cjs');

const CODE = 'ERR_NATIVE_BINDING';

/** What to do, first as a command, then why. */
function remedyOf({ version, platform, tried, explicit }) {
  if (explicit) {
    const remove = `correct the path, or remove ${BINARY_VARIABLE} (or the option "binary"), so that the usual places count`;
    return { command: null, text: remove };
  }
  if (existsSync(path.join(ROOT, 'Cargo.toml'))) {
    return { command: 'npm run build', text: 'run "npm run build": this is a clone, and its binary is built here' };
  }
  const [target] = platform.targets;
  if (!target) {
    return {
      command: null,
      text: `there is no prebuilt binary for this platform: build one in a clone with "npm run build", and name it in ${BINARY_VARIABLE}`,
    };
  }
  const command = `npm install ${packageOf(target)}@${version}`;
  const unfit = tried.find(({ missing, source }) => !missing && source !== 'copy');
  const first = unfit ? `remove ${path.dirname(unfit.path)}, and ` : '';
  return {
    command,
    text: `${first}run "${command}" where ${NAME} is installed. The binary is an optional dependency, which --omit=optional and a lock file made on another platform leave out; no install script is needed, so --ignore-scripts does no harm`,
  };
}

/** See index.d.ts. */
class NativeBindingError extends Error {
  constructor({ version, platform, tried, explicit }) {
    const { command, text } = remedyOf({ version, platform, tried, explicit });
    const lines = tried.map(({ path: place, reason }) => `  ${place}: ${reason}`);
    const summary = `${NAME} ${version} has no binary that can be loaded on ${platformText(platform)}`;
    const short = command ? `; run "${command}"` : '';
    super([`${summary}${short}`, 'Tried:', ...lines, `What helps: ${text}.`].join('\n'));
    this.name = 'NativeBindingError';
    this.code = CODE;
    this.version = version;
    this.platform = platform;
    this.tried = tried.map(({ path: place, source, reason }) => ({ path: place, source, reason }));
    this.remedy = text;
  }
}

module.exports = { NativeBindingError };
