'use strict';
// What doctor finds of the worker: whether it answers, and how it does.

const { plain } = require('../output.cjs');
const { askHealth, workerUrl } = require('../worker-address.cjs');
const { finding } = require('./finding.cjs');

async function ofWorker(options) {
  let health;
  try {
    health = await askHealth(options);
  } catch (error) {
    return finding(
      'worker',
      'warning',
      error.message,
      'start the worker; what hooks send meanwhile waits in the queue where they are clients',
    );
  }
  const { origin } = workerUrl(options);
  if (health.status === 'ok') return finding('worker', 'ok', `answers at ${origin}`);
  const reasons = Array.isArray(health.reasons) ? health.reasons.map(plain).join('; ') : '';
  return finding(
    'worker',
    health.status === 'critical' ? 'error' : 'warning',
    `answers at ${origin}: ${plain(health.status)}${reasons ? `: ${reasons}` : ''}`,
    '"claude-mem-native health" shows its figures',
  );
}

module.exports = { ofWorker };
