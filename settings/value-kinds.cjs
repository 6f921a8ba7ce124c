'use strict';
// The kinds of values that a setting can have. A kind takes what the file or the environment holds, a text or what
// JSON makes of it, and returns the value as `openMemory` takes it; it throws a Refusal that says what is allowed.
const path = require('node:path');

/** Why a value was refused: a sentence without its subject, such as "must be a whole number from 1 to 16". */
class Refusal extends Error {}

const BYTES = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 };

/** A whole number from `min` to `max`; in bytes, a text can end in KiB, MiB, GiB or TiB. */
function wholeNumber(min, max, unit = '') {
  const inBytes = unit === 'bytes';
  const range = `must be a whole number from ${min} to ${max}${unit && ` ${unit}`}`;
  return (given) => {
    let number = NaN;
    if (typeof given === 'number') {
      number = given;
    } else if (typeof given === 'string') {
      const [, digits, suffix] = /^\s*(\d{1,16})\s*([KMGT]iB)?\s*$/.exec(given) ?? [];
      if (digits !== undefined && (suffix === undefined || inBytes)) number = Number(digits) * (BYTES[suffix] ?? 1);
    }
    if (Number.isSafeInteger(number) && number >= min && number <= max) return number;
    throw new Refusal(inBytes ? `${range}, or such a number of KiB, MiB, GiB or TiB ("64 MiB")` : range);
  };
}

/** One of `names`. */
function oneOf(...names) {
  return (given) => {
    if (typeof given === 'string' && names.includes(given.trim())) return given.trim();
    throw new Refusal(`must be ${names.map((name) => `"${name}"`).join(' or ')}`);
  };
}

/** Some of `names`: a JSON array, or a text with commas between them. */
function someOf(...names) {
  return (given) => {
    const list = Array.isArray(given) ? given : typeof given === 'string' ? given.split(',') : [];
    const chosen = list.map((name) => (typeof name === 'string' ? name.trim() : name));
    if (chosen.length > 0 && chosen.every((name) => names.includes(name))) return [...new Set(chosen)];
    throw new Refusal(`must be one or more of ${names.map((name) => `"${name}"`).join(', ')}, separated by commas`);
  };
}

/** true or false, as such or as a text; 1 and 0 mean the same. */
function yesOrNo(given) {
  const value = typeof given === 'string' ? given.trim().toLowerCase() : given;
  if (value === true || value === 'true' || value === '1' || value === 1) return true;
  if (value === false || value === 'false' || value === '0' || value === 0) return false;
  throw new Refusal('must be true or false');
}

/** A text of 1 to `longest` characters, without spaces around it. */
function text(longest) {
  return (given) => {
    const value = typeof given === 'string' ? given.trim() : '';
    if (value !== '' && value.length <= longest) return value;
    throw new Refusal(`must be a text of 1 to ${longest} characters`);
  };
}

/** The name of a model, which is the name of its folder, too. */
function modelName(given) {
  if (typeof given === 'string' && /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$/.test(given)) return given;
  throw new Refusal("must be letters, digits, '.', '_' and '-', not first a '.', at most 100");
}

/** A folder: an absolute path, or one that begins with `~`. A relative one would depend on where the worker starts. */
function folder(given, { home }) {
  const place = typeof given === 'string' ? given.trim() : '';
  const expanded = /^~(?=$|[\\/])/.test(place) ? path.join(home, place.slice(1)) : place;
  if (expanded !== '' && !expanded.includes('\0') && path.isAbsolute(expanded)) return path.normalize(expanded);
  throw new Refusal('must be an absolute path, or one that begins with "~/"');
}

/** An object with the members `kinds`, each of which can be left out: as such, or as JSON text. */
function members(kinds) {
  const names = Object.keys(kinds);
  return (given, context) => {
    let value = given;
    if (typeof given === 'string') {
      try {
        value = JSON.parse(given);
      } catch {
        value = null;
      }
    }
    if (value === null || typeof value !== 'object' || Array.isArray(value)) {
      throw new Refusal(`must be a JSON object with the members ${names.join(', ')}`);
    }
    const checked = {};
    for (const [name, member] of Object.entries(value)) {
      if (!Object.hasOwn(kinds, name))
        throw new Refusal(`has no member "${name}"; the members are ${names.join(', ')}`);
      try {
        checked[name] = kinds[name](member, context);
      } catch (error) {
        if (error instanceof Refusal) throw new Refusal(`has the member "${name}", which ${error.message}`);
        throw error;
      }
    }
    return checked;
  };
}

module.exports = { Refusal, wholeNumber, oneOf, someOf, yesOrNo, text, modelName, folder, members };
