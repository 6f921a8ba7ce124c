'use strict';
// Which agent the worker runs: the rules, a command, or a module of the user's own.
const path = require('node:path');
const ruleBased = require('./rule-based.cjs');
const command = require('./command.cjs');

/**
 * @param {{agent?: string, agentCommand?: string, timeoutMs: number}} choice `agent` is "rules" or the path of a
 * CommonJS module that exports `createAgent(options)`; a command wins over both.
 */
function loadAgent({ agent = 'rules', agentCommand, timeoutMs }) {
  if (agentCommand) return command.createAgent({ command: agentCommand, timeoutMs });
  if (agent === 'rules') return ruleBased.createAgent();
  const loaded = require(path.resolve(agent));
  if (typeof loaded.createAgent !== 'function') {
    throw new TypeError(`${agent} does not export createAgent().`);
  }
  const made = loaded.createAgent({ timeoutMs });
  if (typeof made?.observe !== 'function')
    throw new TypeError(`createAgent() of ${agent} made no agent with observe().`);
  return made;
}

module.exports = { loadAgent };
