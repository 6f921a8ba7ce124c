'use strict';
// NODE_OPTIONS, flag by flag. Only what raises a limit or makes Node say more is taken over: a flag that loads code,
// runs it or opens a port to others would make a file that hooks and web pages can reach a way into the process.
const { Refusal, wholeNumber, oneOf, text } = require('./value-kinds.cjs');

const INSPECTOR_HOST = '127.0.0.1';
const INSPECTOR_PORT = 9229;

/** `--inspect`, `--inspect=9230`, `--inspect=127.0.0.1:9230`: always on the loopback address, said in so many words. */
function inspector(given) {
  const [, host, port] = /^(?:(127\.0\.0\.1|localhost)(?::|$))?(\d{1,5})?$/.exec(given) ?? [];
  const number = port === undefined ? INSPECTOR_PORT : Number(port);
  const understood = given === '' || host !== undefined || port !== undefined;
  if (understood && (number === 0 || (number >= 1024 && number <= 65535))) return `${INSPECTOR_HOST}:${number}`;
  throw new Refusal(
    `must be a port from 1024 to 65535, or 0 for any, and its address ${INSPECTOR_HOST}: whoever reaches the inspector can run code in the worker`,
  );
}

const MEGABYTES = wholeNumber(1, 1_048_576, 'MB');

/** The flags that are taken over: null where there is no value, else the kind of the value. */
const ALLOWED_FLAGS = {
  '--max-old-space-size': wholeNumber(64, 1_048_576, 'MB'),
  '--max-semi-space-size': MEGABYTES,
  '--heapsnapshot-near-heap-limit': wholeNumber(1, 100),
  '--heapsnapshot-signal': oneOf('SIGUSR2'),
  '--inspect': inspector,
  '--trace-warnings': null,
  '--trace-deprecation': null,
  '--trace-uncaught': null,
  '--trace-exit': null,
  '--trace-sigint': null,
  '--trace-sync-io': null,
  '--enable-source-maps': null,
  '--no-deprecation': null,
  '--no-warnings': null,
  '--report-on-fatalerror': null,
  '--report-uncaught-exception': null,
  '--stack-trace-limit': wholeNumber(1, 1_000),
  '--unhandled-rejections': oneOf('strict', 'warn', 'none', 'throw', 'warn-with-error-code'),
  '--dns-result-order': oneOf('ipv4first', 'verbatim'),
  '--title': text(100),
};

/** Splits the text as Node does: at spaces, double quotes keep a value together, a backslash in them keeps a sign. */
function split(nodeOptions) {
  const words = [];
  let word = null;
  let quoted = false;
  for (let at = 0; at < nodeOptions.length; at += 1) {
    const sign = nodeOptions[at];
    if (quoted && sign === '\\' && at + 1 < nodeOptions.length) {
      at += 1;
      word += nodeOptions[at];
    } else if (sign === '"') {
      quoted = !quoted;
      word ??= '';
    } else if (/\s/.test(sign) && !quoted) {
      if (word !== null) words.push(word);
      word = null;
    } else {
      word = (word ?? '') + sign;
    }
  }
  if (word !== null) words.push(word);
  return { words, complete: !quoted };
}

/** A word of NODE_OPTIONS that Node reads as the same again. */
function quote(word) {
  return /[\s"\\]/.test(word) ? `"${word.replace(/["\\]/g, '\\$&')}"` : word;
}

function accept(flag, value) {
  if (!Object.hasOwn(ALLOWED_FLAGS, flag)) {
    if (/^--inspect-/.test(flag)) throw new Refusal('is not taken over; --inspect alone is');
    throw new Refusal(`is not taken over; what is: ${Object.keys(ALLOWED_FLAGS).join(', ')}`);
  }
  const kind = ALLOWED_FLAGS[flag];
  if (kind === null) {
    if (value !== undefined) throw new Refusal('takes no value');
    return flag;
  }
  if (value === undefined && flag !== '--inspect') throw new Refusal('lacks its value: write it after a "="');
  return `${flag}=${kind(value ?? '')}`;
}

/**
 * Takes NODE_OPTIONS apart. Of a flag that is given twice the last counts, as in Node; underscores count as dashes.
 * Never throws.
 * @param {string} nodeOptions
 * @returns {{args: string[], refused: {flag: string, message: string}[]}}
 */
function parseNodeOptions(nodeOptions) {
  const { words, complete } = split(nodeOptions);
  if (!complete) {
    return { args: [], refused: [{ flag: nodeOptions, message: 'has a double quote that is not closed' }] };
  }
  const taken = new Map();
  const refused = [];
  for (let at = 0; at < words.length; at += 1) {
    const equals = words[at].indexOf('=');
    const flag = (equals === -1 ? words[at] : words[at].slice(0, equals)).replace(/_/g, '-');
    let value = equals === -1 ? undefined : words[at].slice(equals + 1);
    // A value in a word of its own goes with the flag before it, also where that flag is refused.
    const next = words[at + 1];
    if (value === undefined && flag.startsWith('-') && next !== undefined && !next.startsWith('-')) {
      if (ALLOWED_FLAGS[flag] !== null) {
        value = next;
        at += 1;
      }
    }
    try {
      const arg = accept(flag, value);
      taken.delete(flag);
      taken.set(flag, arg);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      refused.push({ flag: value === undefined ? flag : `${flag}=${value}`, message: error.message });
    }
  }
  return { args: [...taken.values()], refused };
}

/** The arguments as one text for NODE_OPTIONS. */
function joinNodeOptions(args) {
  return args.map(quote).join(' ');
}

module.exports = { ALLOWED_FLAGS, parseNodeOptions, joinNodeOptions };
