'use strict';
// `claude-mem-native/settings`: what the user has set, checked. Plain JavaScript without the native module, so that it
// answers where that is missing, and synchronous, since PM2 reads its configuration so.
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { KEYS, BINARY_KEY, DATA_DIR_KEY, nearestKey } = require('./keys.cjs');
const { PREFIX, settingOf } = require('./open-options.cjs');
const { parseNodeOptions, joinNodeOptions } = require('./node-options.cjs');
const { Refusal } = require('./value-kinds.cjs');

const LARGEST_FILE = 1 << 20;
const WHERE = { file: 'settings.json', legacy: '~/.claude/settings.json', environment: 'the environment' };

/** The `env` object of a settings file, or the reason why there is none; both absent where there is no file. */
function readFile(file) {
  let source;
  try {
    const stat = fs.statSync(file);
    if (!stat.isFile()) return { problem: 'is not a file' };
    if (stat.size > LARGEST_FILE) return { problem: `has ${stat.size} bytes; at most ${LARGEST_FILE} are read` };
    source = fs.readFileSync(file, 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return {};
    return { problem: `cannot be read: ${error.message}` };
  }
  let parsed;
  try {
    parsed = JSON.parse(source.replace(/^\uFEFF/, ''));
  } catch (error) {
    return { problem: `is not valid JSON: ${error.message}` };
  }
  const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);
  if (!isObject(parsed)) return { problem: 'must hold a JSON object' };
  if (parsed.env === undefined || parsed.env === null) return { env: {} };
  return isObject(parsed.env) ? { env: parsed.env } : { problem: 'must hold a JSON object under "env"' };
}

/** A value for a message: as JSON, not longer than a line. */
function shown(value) {
  const json = JSON.stringify(value) ?? String(value);
  return json.length > 120 ? `${json.slice(0, 117)}…` : json;
}

/** Nothing is set by an absent, null or empty value. */
function isSet(value) {
  return value !== undefined && value !== null && value !== '';
}

/** Goes through the sources of one key, first to last, and notes what is refused on the way. */
class Reading {
  constructor(sources, home) {
    this.sources = sources;
    this.home = home;
    this.rejected = [];
  }

  reject(source, key, value, message) {
    this.rejected.push({ source, key, value, message });
  }

  /** The first value that passes, and where it was found; null where there is none. */
  first(key, kind) {
    for (const { source, env } of this.sources) {
      const given = Object.hasOwn(env, key) ? env[key] : undefined;
      if (!isSet(given)) continue;
      try {
        return { value: kind(given, { home: this.home }), source };
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        this.reject(source, key, given, `${key} in ${WHERE[source]} is ${shown(given)}; it ${error.message}.`);
      }
    }
    return null;
  }

  /** NODE_OPTIONS of the first source that has them: flags that are refused are left out, the others count. */
  nodeOptions() {
    for (const { source, env } of this.sources) {
      const given = Object.hasOwn(env, 'NODE_OPTIONS') ? env.NODE_OPTIONS : undefined;
      // The other program's file sets the options of that program.
      if (!isSet(given) || source === 'legacy') continue;
      if (typeof given !== 'string') {
        this.reject(
          source,
          'NODE_OPTIONS',
          given,
          `NODE_OPTIONS in ${WHERE[source]} is ${shown(given)}; it must be a text such as "--max-old-space-size=512".`,
        );
        continue;
      }
      const { args, refused } = parseNodeOptions(given);
      for (const { flag, message } of refused) {
        this.reject(source, 'NODE_OPTIONS', flag, `NODE_OPTIONS in ${WHERE[source]}: ${shown(flag)} ${message}.`);
      }
      return { args, source };
    }
    return { args: [], source: 'default' };
  }

  /** Keys that are none, but look as if somebody had meant one. */
  unknownKeys() {
    for (const { source, env } of this.sources) {
      for (const key of Object.keys(env)) {
        if (key === BINARY_KEY && source !== 'environment' && isSet(env[key])) {
          const message = `${key} in ${WHERE[source]} is ${shown(env[key])}; it counts in the environment only, since it names code to be loaded.`;
          this.reject(source, key, env[key], message);
        }
        if (Object.hasOwn(KEYS, key) || [BINARY_KEY, DATA_DIR_KEY].includes(key) || !key.startsWith('CLAUDE_MEM_'))
          continue;
        const ours = key.startsWith(PREFIX);
        const meant = nearestKey(key, ours ? 4 : 2);
        // Other keys under CLAUDE_MEM_ belong to other programs, or to other versions of the worker.
        if (!ours && meant === null) continue;
        const hint = meant ? `; should it be ${meant}?` : `; the options of openMemory are listed in the README.`;
        this.reject(source, key, env[key], `${key} in ${WHERE[source]} is no setting${hint}`);
      }
    }
  }
}

/**
 * Reads the settings of a data directory. See index.d.ts.
 * @param {{dataDir?: string, home?: string, environment?: Record<string, string | undefined>}} [from]
 */
function readSettings({ dataDir, home = os.homedir(), environment = process.env } = {}) {
  const directory = path.resolve(dataDir || environment[DATA_DIR_KEY] || path.join(home, '.claude-mem'));
  const file = path.join(directory, 'settings.json');
  const own = readFile(file);
  // What is wrong with the other program's file is that program's business.
  const legacy = readFile(path.join(home, '.claude', 'settings.json'));
  const onlyOurs = Object.entries(legacy.env ?? {}).filter(([key]) => key.startsWith('CLAUDE_MEM_'));
  const reading = new Reading(
    [
      { source: 'file', env: own.env ?? {} },
      { source: 'legacy', env: Object.fromEntries(onlyOurs) },
      { source: 'environment', env: environment },
    ],
    home,
  );
  if (own.problem) {
    const message = `${file} ${own.problem}. Correct it or remove it; until then the environment and the defaults count.`;
    reading.reject('file', null, null, message);
  }
  const elsewhere = own.env?.[DATA_DIR_KEY];
  if (isSet(elsewhere) && (typeof elsewhere !== 'string' || path.resolve(elsewhere) !== directory)) {
    const message = `${DATA_DIR_KEY} in settings.json is ${shown(elsewhere)}, and the file lies in ${directory}: the key says where to look for the file, so it counts in the environment only. ${settingOf('dataDir')} moves the data alone.`;
    reading.reject('file', DATA_DIR_KEY, elsewhere, message);
  }

  const values = {};
  const sources = {};
  const openOptions = { dataDir: directory };
  for (const [key, { kind, fallback, option }] of Object.entries(KEYS)) {
    const found = reading.first(key, kind);
    values[key] = found ? found.value : fallback;
    sources[key] = found ? found.source : 'default';
    if (found && option) openOptions[option] = found.value;
  }
  if (values.CLAUDE_MEM_MODEL_DIR !== undefined) openOptions.modelDir ??= values.CLAUDE_MEM_MODEL_DIR;
  if (openOptions.readOnly && openOptions.role !== 'client') {
    const key = settingOf('readOnly');
    const message = `${key} in ${WHERE[sources[key]]} is true; that is for clients, since an owner writes: set ${settingOf('role')} to "client" as well.`;
    reading.reject(sources[key], key, true, message);
    values[key] = undefined;
    sources[key] = 'default';
    delete openOptions.readOnly;
  }
  const nodeOptions = reading.nodeOptions();
  values.NODE_OPTIONS = joinNodeOptions(nodeOptions.args);
  sources.NODE_OPTIONS = nodeOptions.source;
  reading.unknownKeys();
  return {
    file,
    dataDir: openOptions.dataDir,
    values,
    sources,
    openOptions,
    nodeArgs: nodeOptions.args,
    rejected: reading.rejected,
  };
}

/** Every key that counts in the file. */
const KNOWN_KEYS = Object.freeze([...Object.keys(KEYS), 'NODE_OPTIONS']);

module.exports = { readSettings, parseNodeOptions, KNOWN_KEYS };
