'use strict';
// What `bun test --reporter=junit` writes, as far as it is read here: an element a line, tests within suites.

const ENTITIES = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

const unescaped = (text) =>
  text.replace(/&(?:#x([0-9a-f]+)|#(\d+)|(\w+));/gi, (whole, hex, decimal, name) => {
    if (name) return ENTITIES[name] ?? whole;
    return String.fromCodePoint(hex ? Number.parseInt(hex, 16) : Number(decimal));
  });

const attribute = (attributes, name) => unescaped(new RegExp(`(?:^|\\s)${name}="([^"]*)"`).exec(attributes)?.[1] ?? '');

/** Each test of a report: `{name, outcome, reason}`. */
function testsOf(xml) {
  return [...xml.matchAll(/<testcase\s([^>]*?)(?:\/>|>([\s\S]*?)<\/testcase>)/g)].map(([, attributes, inside = '']) => {
    const suites = attribute(attributes, 'classname');
    const name = [suites, attribute(attributes, 'name')].filter(Boolean).join(' > ');
    const failure = /<(?:failure|error)\b([^>]*?)(?:\/>|>([\s\S]*?)<\/(?:failure|error)>)/.exec(inside);
    if (failure) {
      return { name, outcome: 'failed', reason: unescaped(failure[2] ?? '') || attribute(failure[1], 'message') };
    }
    const skipped = /<skipped\b/.test(inside);
    return { name, outcome: skipped ? 'skipped' : 'passed' };
  });
}

module.exports = { testsOf };
