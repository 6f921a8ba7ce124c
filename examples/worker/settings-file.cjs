'use strict';
// settings.json: {"env": {"CLAUDE_MEM_WORKER_PORT": "37777", …}}. A value in the data directory's file wins; a key
// missing there is read from ~/.claude/settings.json, where 6.0.2 kept some; then comes the environment variable.
const fs = require('node:fs/promises');
const os = require('node:os');
const path = require('node:path');
const { BadRequest } = require('./http-errors.cjs');

/** The keys that /api/settings shows and writes, with their defaults. Nothing else can be set over HTTP. */
const SHOWN_SETTINGS = {
  CLAUDE_MEM_MODEL: 'claude-haiku-4-5',
  CLAUDE_MEM_CONTEXT_OBSERVATIONS: '50',
  CLAUDE_MEM_WORKER_PORT: '37777',
};

const RANGES = {
  CLAUDE_MEM_CONTEXT_OBSERVATIONS: [1, 200],
  CLAUDE_MEM_WORKER_PORT: [1024, 65535],
};

/** Checks one setting and returns it as the text that the file keeps. Throws BadRequest. */
function checkSetting(key, value) {
  if (!Object.hasOwn(SHOWN_SETTINGS, key)) {
    throw new BadRequest(`"${key}" cannot be set here; the settings are ${Object.keys(SHOWN_SETTINGS).join(', ')}.`);
  }
  const given = typeof value === 'number' ? String(value) : value;
  const range = RANGES[key];
  if (range) {
    const number = /^\d{1,6}$/.test(given ?? '') ? Number(given) : NaN;
    if (!(number >= range[0] && number <= range[1])) {
      throw new BadRequest(
        `${key} is ${JSON.stringify(value)}; it must be a whole number from ${range[0]} to ${range[1]}.`,
      );
    }
    return String(number);
  }
  if (typeof given !== 'string' || given.trim() === '' || given.length > 200) {
    throw new BadRequest(`${key} must be a text of 1 to 200 characters.`);
  }
  return given.trim();
}

async function readJsonObject(file) {
  let source;
  try {
    source = await fs.readFile(file, 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return null;
    throw new Error(`Cannot read ${file}: ${error.message}`, { cause: error });
  }
  let parsed;
  try {
    parsed = JSON.parse(source.replace(/^\uFEFF/, ''));
  } catch (error) {
    throw new Error(`${file} is not valid JSON: ${error.message}. Correct it or remove it.`, { cause: error });
  }
  if (parsed === null || typeof parsed !== 'object' || Array.isArray(parsed)) {
    throw new Error(`${file} must hold a JSON object. Correct it or remove it.`);
  }
  return parsed;
}

/** The settings of one data directory. */
class SettingsFile {
  /** @param {string} dataDir @param {{home?: string, environment?: object}} [from] where the fallbacks are read */
  constructor(dataDir, { home = os.homedir(), environment = process.env } = {}) {
    this.file = path.join(dataDir, 'settings.json');
    this.legacyFile = path.join(home, '.claude', 'settings.json');
    this.environment = environment;
    this.writing = Promise.resolve();
  }

  /** The value of every `CLAUDE_MEM_*` key and of NODE_OPTIONS, as texts, by the order of precedence. */
  async read() {
    const own = envOf(await readJsonObject(this.file));
    // The other file belongs to another program: when it cannot be read, it has nothing to say.
    const legacy = envOf(await readJsonObject(this.legacyFile).catch(() => null));
    const values = { ...SHOWN_SETTINGS };
    for (const [key, value] of Object.entries(this.environment)) {
      if (key.startsWith('CLAUDE_MEM_') && value) values[key] = value;
    }
    for (const source of [legacy, own]) {
      for (const [key, value] of Object.entries(source)) {
        if (key.startsWith('CLAUDE_MEM_')) values[key] = value;
      }
    }
    if (own.NODE_OPTIONS) values.NODE_OPTIONS = own.NODE_OPTIONS;
    return values;
  }

  /** The three settings that /api/settings shows. */
  async readShown() {
    const values = await this.read();
    return Object.fromEntries(Object.keys(SHOWN_SETTINGS).map((key) => [key, values[key]]));
  }

  /** Checks and stores the given settings; everything else in the file stays as it was. */
  async writeShown(changes) {
    const checked = Object.fromEntries(Object.entries(changes).map(([key, value]) => [key, checkSetting(key, value)]));
    await this.change((settings) => ({ ...settings, env: { ...plainObject(settings.env), ...checked } }));
  }

  /** Whether the search server for editors is switched on (it is unless someone switched it off). */
  async isMcpEnabled() {
    return (await readJsonObject(this.file))?.mcpEnabled !== false;
  }

  /** Switches the search server for editors on or off. */
  async setMcpEnabled(enabled) {
    await this.change((settings) => ({ ...settings, mcpEnabled: enabled }));
  }

  /** One change after the other, each written beside the file and renamed over it. */
  change(edit) {
    const step = this.writing.then(async () => {
      const settings = edit((await readJsonObject(this.file)) ?? {});
      const temporary = `${this.file}.${process.pid}.tmp`;
      const mode = await fs.stat(this.file).then(
        (stat) => stat.mode & 0o777,
        () => 0o600,
      );
      await fs.mkdir(path.dirname(this.file), { recursive: true });
      await fs.writeFile(temporary, `${JSON.stringify(settings, null, 2)}\n`, { mode });
      await fs.rename(temporary, this.file);
    });
    // A failed change is reported to its caller and does not stop the next one.
    this.writing = step.catch(() => {});
    return step;
  }
}

function plainObject(value) {
  return value !== null && typeof value === 'object' && !Array.isArray(value) ? value : {};
}

function envOf(settings) {
  const entries = Object.entries(plainObject(settings?.env));
  return Object.fromEntries(
    entries
      .filter(([, value]) => value !== null && value !== '' && typeof value !== 'object')
      .map(([key, value]) => [key, String(value)]),
  );
}

module.exports = { SettingsFile, checkSetting, SHOWN_SETTINGS };
