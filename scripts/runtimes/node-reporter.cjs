'use strict';
// A reporter for `node --test`: one line of JSON for each test, and what the tests print. A test within a test counts
// with the one around it, as it does on Bun; a suite is no test.

/** Tests that ended at each depth and whose parent has not. */
const open = [];

function ended({ name, nesting, skip, todo, details }, passed) {
  const children = open[nesting + 1] ?? [];
  open.length = nesting + 1;
  open[nesting] ??= [];
  if (details.type === 'suite') {
    for (const child of children) child.name = `${name} > ${child.name}`;
    // A suite that fails by itself: its hook, not one of its tests.
    if (passed || children.some(({ outcome }) => outcome === 'failed')) open[nesting].push(...children);
    else open[nesting].push(...children, { name, outcome: 'failed', reason: reasonOf(details.error) });
    return;
  }
  const skipped = skip !== undefined || todo !== undefined;
  const outcome = skipped ? 'skipped' : passed ? 'passed' : 'failed';
  const within = children.filter(({ outcome }) => outcome !== 'passed');
  const reason = skipped ? skip || todo : passed ? undefined : reasonOf(details.error);
  open[nesting].push({ name, outcome, reason, within: within.length > 0 ? within : undefined });
}

const reasonOf = (error) => String(error?.cause?.stack ?? error?.cause ?? error?.stack ?? error);

module.exports = async function* report(source) {
  for await (const { type, data } of source) {
    if (type === 'test:pass' || type === 'test:fail') {
      ended(data, type === 'test:pass');
      if (data.nesting === 0) {
        for (const test of open[0].splice(0)) yield `${JSON.stringify({ test })}\n`;
      }
    }
    if (type === 'test:stdout' || type === 'test:stderr') yield `${JSON.stringify({ printed: data.message })}\n`;
    if (type === 'test:diagnostic' && data.nesting > 0) yield `${JSON.stringify({ printed: `# ${data.message}\n` })}\n`;
  }
};
