'use strict';
// claude-mem-native/settings: what counts, where it was found, and what is said of the rest.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { describe, test } = require('node:test');
const { readSettings, parseNodeOptions, KNOWN_KEYS } = require('claude-mem-native/settings');
const { OPEN_OPTIONS, settingOf } = require('../settings/open-options.cjs');
const { dataDirectory } = require('./data-directory.cjs');

const ROOT = path.join(__dirname, '..');

/** A home directory with the given texts or objects as settings files, and a function that reads them. */
function homeWith(t, { own, legacy, environment = {} } = {}) {
  const home = dataDirectory(t).directory;
  const put = (folder, content) => {
    if (content === undefined) return;
    fs.mkdirSync(path.join(home, folder), { recursive: true });
    const text = typeof content === 'string' ? content : JSON.stringify({ env: content });
    fs.writeFileSync(path.join(home, folder, 'settings.json'), text);
  };
  put('.claude-mem', own);
  put('.claude', legacy);
  return { home, read: (more = {}) => readSettings({ home, environment, ...more }) };
}

const optionNames = () => {
  const types = fs.readFileSync(path.join(ROOT, 'index.d.ts'), 'utf8');
  const [, body] = /^export interface OpenOptions \{\n([^]*?)^\}/m.exec(types);
  return [...body.matchAll(/^ {2}(\w+)\??:/gm)].map(([, member]) => member);
};

describe('order of precedence', () => {
  test('defaults where nothing is set', (t) => {
    const { home, read } = homeWith(t);
    const settings = read();
    assert.equal(settings.file, path.join(home, '.claude-mem', 'settings.json'));
    assert.equal(settings.values.CLAUDE_MEM_WORKER_PORT, 37777);
    assert.equal(settings.values.CLAUDE_MEM_CONTEXT_OBSERVATIONS, 50);
    assert.equal(settings.values.CLAUDE_MEM_MODEL, 'claude-haiku-4-5');
    assert.equal(settings.values.NODE_OPTIONS, '');
    assert.equal(settings.sources.CLAUDE_MEM_WORKER_PORT, 'default');
    assert.deepEqual(settings.openOptions, { dataDir: path.join(home, '.claude-mem') });
    assert.deepEqual(settings.nodeArgs, []);
    assert.deepEqual(settings.rejected, []);
  });

  test('the file wins over the other file, that over the environment, that over the default', (t) => {
    const { read } = homeWith(t, {
      own: { CLAUDE_MEM_WORKER_PORT: '40001' },
      legacy: { CLAUDE_MEM_WORKER_PORT: '40002', CLAUDE_MEM_MODEL: 'from-legacy' },
      environment: {
        CLAUDE_MEM_WORKER_PORT: '40003',
        CLAUDE_MEM_MODEL: 'from-environment',
        CLAUDE_MEM_CONTEXT_OBSERVATIONS: '7',
      },
    });
    const { values, sources, rejected } = read();
    assert.equal(values.CLAUDE_MEM_WORKER_PORT, 40001);
    assert.equal(values.CLAUDE_MEM_MODEL, 'from-legacy');
    assert.equal(values.CLAUDE_MEM_CONTEXT_OBSERVATIONS, 7);
    assert.equal(sources.CLAUDE_MEM_WORKER_PORT, 'file');
    assert.equal(sources.CLAUDE_MEM_MODEL, 'legacy');
    assert.equal(sources.CLAUDE_MEM_CONTEXT_OBSERVATIONS, 'environment');
    assert.deepEqual(rejected, []);
  });

  test('a refused value is explained and the next one counts', (t) => {
    const { read } = homeWith(t, {
      own: { CLAUDE_MEM_WORKER_PORT: '80' },
      environment: { CLAUDE_MEM_WORKER_PORT: '40003' },
    });
    const { values, rejected } = read();
    assert.equal(values.CLAUDE_MEM_WORKER_PORT, 40003);
    assert.deepEqual(rejected, [
      {
        source: 'file',
        key: 'CLAUDE_MEM_WORKER_PORT',
        value: '80',
        message: 'CLAUDE_MEM_WORKER_PORT in settings.json is "80"; it must be a whole number from 1024 to 65535.',
      },
    ]);
  });

  test('empty and null values set nothing', (t) => {
    const { read } = homeWith(t, {
      own: { CLAUDE_MEM_WORKER_PORT: '', CLAUDE_MEM_MODEL: null },
      environment: { CLAUDE_MEM_MODEL: 'mine' },
    });
    const { values, rejected } = read();
    assert.equal(values.CLAUDE_MEM_WORKER_PORT, 37777);
    assert.equal(values.CLAUDE_MEM_MODEL, 'mine');
    assert.deepEqual(rejected, []);
  });
});

describe('the data directory', () => {
  test('CLAUDE_MEM_DATA_DIR says where the file is', (t) => {
    const elsewhere = dataDirectory(t).directory;
    fs.writeFileSync(path.join(elsewhere, 'settings.json'), '{"env": {"CLAUDE_MEM_WORKER_PORT": 40004}}');
    const { read } = homeWith(t, {
      own: { CLAUDE_MEM_WORKER_PORT: '40001' },
      environment: { CLAUDE_MEM_DATA_DIR: elsewhere },
    });
    const settings = read();
    assert.equal(settings.values.CLAUDE_MEM_WORKER_PORT, 40004);
    assert.equal(settings.openOptions.dataDir, elsewhere);
    const chosen = read({ dataDir: path.join(elsewhere, 'none') });
    assert.equal(chosen.values.CLAUDE_MEM_WORKER_PORT, 37777, 'the argument wins over the variable');
  });

  test('in the file the key is explained, and CLAUDE_MEM_NATIVE_DATA_DIR moves the data', (t) => {
    const { home, read } = homeWith(t, { own: { CLAUDE_MEM_DATA_DIR: '/data', CLAUDE_MEM_NATIVE_DATA_DIR: '~/data' } });
    const settings = read();
    assert.deepEqual(
      settings.rejected.map(({ key }) => key),
      ['CLAUDE_MEM_DATA_DIR'],
    );
    assert.match(settings.rejected[0].message, /counts in the environment only/);
    assert.equal(settings.dataDir, path.join(home, 'data'));
    assert.equal(settings.openOptions.dataDir, path.join(home, 'data'));
  });

  test('CLAUDE_MEM_NATIVE_BINARY counts in the environment only, and CLAUDE_MEM_NATIVE_LOAD_FROM in both', (t) => {
    const { read } = homeWith(t, {
      own: { CLAUDE_MEM_NATIVE_BINARY: '/x.node', CLAUDE_MEM_NATIVE_LOAD_FROM: 'data-directory' },
      environment: { CLAUDE_MEM_NATIVE_BINARY: '/y.node', CLAUDE_MEM_NATIVE_LOAD_FROM: 'package' },
    });
    const { values, openOptions, rejected } = read();
    assert.equal(values.CLAUDE_MEM_NATIVE_LOAD_FROM, 'data-directory');
    assert.deepEqual(Object.keys(openOptions), ['dataDir']);
    assert.deepEqual(
      rejected.map(({ source, key, value }) => [source, key, value]),
      [['file', 'CLAUDE_MEM_NATIVE_BINARY', '/x.node']],
    );
    assert.match(rejected[0].message, /counts in the environment only/);
    assert.equal(homeWith(t, {}).read().values.CLAUDE_MEM_NATIVE_LOAD_FROM, 'package');
  });

  test('a key that names the directory the file lies in is no fault', (t) => {
    const { home, read } = homeWith(t, { own: '{}' });
    const directory = path.join(home, '.claude-mem');
    fs.writeFileSync(
      path.join(directory, 'settings.json'),
      JSON.stringify({ env: { CLAUDE_MEM_DATA_DIR: directory } }),
    );
    assert.deepEqual(read().rejected, []);
  });
});

describe('a broken file', () => {
  for (const [what, content, message] of [
    ['is cut off', '{"env": {"CLAUDE_MEM_WORKER_PORT": "4', /is not valid JSON.*Correct it or remove it/],
    ['is empty', '', /is not valid JSON/],
    ['is a list', '[]', /must hold a JSON object\./],
    ['is null', 'null', /must hold a JSON object\./],
    ['has a text for env', '{"env": "x"}', /must hold a JSON object under "env"/],
    ['is huge', `{"env": {}}${' '.repeat(1 << 20)}`, /at most 1048576 are read/],
  ]) {
    test(`that ${what} is one message, and the environment counts`, (t) => {
      const { read } = homeWith(t, { own: content, environment: { CLAUDE_MEM_WORKER_PORT: '40003' } });
      const { values, rejected } = read();
      assert.equal(values.CLAUDE_MEM_WORKER_PORT, 40003);
      assert.equal(rejected.length, 1);
      assert.equal(rejected[0].key, null);
      assert.match(rejected[0].message, message);
    });
  }

  test('that is a directory is one message', (t) => {
    const { home, read } = homeWith(t);
    fs.mkdirSync(path.join(home, '.claude-mem', 'settings.json'), { recursive: true });
    const { rejected } = read();
    assert.equal(rejected.length, 1);
    assert.match(rejected[0].message, /is not a file/);
  });

  test('of the other program is that program’s business', (t) => {
    assert.deepEqual(homeWith(t, { legacy: '{' }).read().rejected, []);
  });

  test('with a byte order mark, without env, or without anything is none', (t) => {
    const { read } = homeWith(t, { own: '\uFEFF{"env": {"CLAUDE_MEM_WORKER_PORT": 40001}}' });
    assert.equal(read().values.CLAUDE_MEM_WORKER_PORT, 40001);
    assert.deepEqual(homeWith(t, { own: '{"mcpEnabled": false}' }).read().rejected, []);
  });

  test('with keys that objects have by themselves sets nothing', (t) => {
    const { read } = homeWith(t, { own: '{"env": {"__proto__": {"CLAUDE_MEM_WORKER_PORT": 40001}, "toString": 1}}' });
    const { values, rejected } = read();
    assert.equal(values.CLAUDE_MEM_WORKER_PORT, 37777);
    assert.deepEqual(rejected, []);
  });
});

describe('options of openMemory', () => {
  test('each one is a setting, in the table, in the types and in KNOWN_KEYS', () => {
    assert.deepEqual(Object.keys(OPEN_OPTIONS), optionNames());
    const types = fs.readFileSync(path.join(ROOT, 'settings', 'index.d.ts'), 'utf8');
    const [, body] = /^export interface SettingValues \{\n([^]*?)^\}/m.exec(types);
    const typed = [...body.matchAll(/^ {2}(\w+)\??:/gm)].map(([, member]) => member);
    assert.deepEqual([...KNOWN_KEYS].sort(), typed.sort());
    for (const option of optionNames()) assert.ok(KNOWN_KEYS.includes(settingOf(option)), option);
    assert.equal(settingOf('lockWaitMs'), 'CLAUDE_MEM_NATIVE_LOCK_WAIT_MS');
  });

  test('values of every kind, as texts and as what they are', (t) => {
    const { home, read } = homeWith(t, {
      own: {
        CLAUDE_MEM_NATIVE_ROLE: 'client',
        CLAUDE_MEM_NATIVE_READ_ONLY: 'true',
        CLAUDE_MEM_NATIVE_PARTS: 'store, queue',
        CLAUDE_MEM_NATIVE_READERS: 4,
        CLAUDE_MEM_NATIVE_LOCK_WAIT_MS: '0',
        CLAUDE_MEM_NATIVE_MAX_IN_FLIGHT_BYTES: '32 MiB',
        CLAUDE_MEM_NATIVE_VECTOR_EXPANSION: '{"add": 64}',
        CLAUDE_MEM_NATIVE_MODEL: { name: 'other', dimensions: '512' },
        CLAUDE_MEM_NATIVE_CLIENT_MODEL: 0,
        CLAUDE_MEM_MODEL_DIR: '~/models',
      },
    });
    const { openOptions, rejected } = read();
    assert.deepEqual(rejected, []);
    assert.deepEqual(openOptions, {
      dataDir: path.join(home, '.claude-mem'),
      role: 'client',
      readOnly: true,
      parts: ['store', 'queue'],
      readers: 4,
      lockWaitMs: 0,
      maxInFlightBytes: 33_554_432,
      vectorExpansion: { add: 64 },
      model: { name: 'other', dimensions: 512 },
      clientModel: false,
      modelDir: path.join(home, 'models'),
    });
  });

  for (const [key, value, message] of [
    ['CLAUDE_MEM_NATIVE_READERS', '17', 'it must be a whole number from 1 to 16.'],
    ['CLAUDE_MEM_NATIVE_READERS', 1.5, 'it must be a whole number from 1 to 16.'],
    ['CLAUDE_MEM_NATIVE_READERS', '2 MiB', 'it must be a whole number from 1 to 16.'],
    ['CLAUDE_MEM_NATIVE_DEADLINE_MS', '5s', 'it must be a whole number from 1 to 600000 ms.'],
    ['CLAUDE_MEM_NATIVE_DURABILITY', 'ful', 'it must be "normal" or "full".'],
    ['CLAUDE_MEM_NATIVE_PARTS', 'stroe', 'it must be one or more of "store", "queue", "vectors", separated by commas.'],
    ['CLAUDE_MEM_NATIVE_SECURE_DELETE', 'yes', 'it must be true or false.'],
    ['CLAUDE_MEM_NATIVE_MODEL_DIR', 'models', 'it must be an absolute path, or one that begins with "~/".'],
    [
      'CLAUDE_MEM_NATIVE_VECTOR_EXPANSION',
      { add: 1 },
      'it has the member "add", which must be a whole number from 4 to 4096 candidates.',
    ],
    ['CLAUDE_MEM_NATIVE_VECTOR_EXPANSION', '128', 'it must be a JSON object with the members add, search.'],
    ['CLAUDE_MEM_NATIVE_MODEL', { nmae: 'x' }, 'it has no member "nmae"; the members are name, dimensions, maxTokens.'],
    ['CLAUDE_MEM_NATIVE_READ_ONLY', true, 'set CLAUDE_MEM_NATIVE_ROLE to "client" as well.'],
  ]) {
    test(`${key} ${JSON.stringify(value)} is refused`, (t) => {
      const { read } = homeWith(t, { own: { [key]: value } });
      const { openOptions, rejected } = read();
      assert.deepEqual(Object.keys(openOptions), ['dataDir']);
      assert.equal(rejected.length, 1);
      assert.equal(rejected[0].key, key);
      assert.ok(rejected[0].message.endsWith(message), rejected[0].message);
    });
  }

  test('the ranges are those of the engine', async () => {
    const { openMemory } = require('..');
    // What the settings and the engine say of a value that no range allows.
    const here = (kind) => {
      try {
        kind(-1, { home: '/' });
        return null;
      } catch (error) {
        return /(-?\d+) to (\d+)/.exec(error.message)?.slice(1) ?? null;
      }
    };
    let ranges = 0;
    for (const [option, kind] of Object.entries(OPEN_OPTIONS)) {
      const range = here(kind);
      if (range === null) continue;
      ranges += 1;
      await assert.rejects(openMemory({ [option]: -1 }), (error) => {
        assert.equal(error.code, 'ERR_INVALID_ARG');
        assert.deepEqual(/(-?\d+) to (\d+)/.exec(error.message).slice(1), range, option);
        return true;
      });
    }
    const types = fs.readFileSync(path.join(ROOT, 'index.d.ts'), 'utf8');
    const [, body] = /^export interface OpenOptions \{\n([^]*?)^\}/m.exec(types);
    assert.equal(ranges, body.match(/^ {2}\w+\?: number$/gm).length);
  });

  test('openMemory takes what was read', async (t) => {
    const { read } = homeWith(t, {
      own: { CLAUDE_MEM_NATIVE_PARTS: 'queue', CLAUDE_MEM_NATIVE_MAX_MESSAGE_BYTES: '2 KiB' },
    });
    const { openMemory } = require('..');
    const memory = await openMemory(read().openOptions);
    t.after(() => memory.dispose());
    const message = { type: 'observation', tool_name: 'Read', tool_input: 'x'.repeat(3_000) };
    await assert.rejects(memory.queue.enqueue(1, message), { code: 'ERR_QUEUE_FULL' });
  });
});

describe('keys that are none', () => {
  test('under CLAUDE_MEM_NATIVE_ each is named, with the one that was meant', (t) => {
    const { read } = homeWith(t, {
      own: { CLAUDE_MEM_NATIVE_READRES: 3 },
      environment: { CLAUDE_MEM_NATIVE_SOMETHING_ELSE: '1', CLAUDE_MEM_WORKER_PROT: '1', CLAUDE_MEM_PROVIDER: 'x' },
    });
    assert.deepEqual(
      read().rejected.map(({ message }) => message),
      [
        'CLAUDE_MEM_NATIVE_READRES in settings.json is no setting; should it be CLAUDE_MEM_NATIVE_READERS?',
        'CLAUDE_MEM_NATIVE_SOMETHING_ELSE in the environment is no setting; the options of openMemory are listed in the README.',
        'CLAUDE_MEM_WORKER_PROT in the environment is no setting; should it be CLAUDE_MEM_WORKER_PORT?',
      ],
    );
  });
});

describe('NODE_OPTIONS', () => {
  const args = (text) => parseNodeOptions(text).args;
  const refusals = (text) => parseNodeOptions(text).refused.map(({ flag, message }) => `${flag} ${message}`);

  test('limits and tracing are taken over, however they are spelled', () => {
    assert.deepEqual(args('--max_old_space_size=4096 --trace-warnings  --max-semi-space-size 32'), [
      '--max-old-space-size=4096',
      '--trace-warnings',
      '--max-semi-space-size=32',
    ]);
    assert.deepEqual(args('--max-old-space-size=100 --max-old-space-size=200'), ['--max-old-space-size=200']);
    assert.deepEqual(args('--title="a \\"b\\" c"'), ['--title=a "b" c']);
    assert.deepEqual(args(''), []);
  });

  test('the inspector listens on 127.0.0.1 only', () => {
    assert.deepEqual(args('--inspect'), ['--inspect=127.0.0.1:9229']);
    assert.deepEqual(args('--inspect=9300'), ['--inspect=127.0.0.1:9300']);
    assert.deepEqual(args('--inspect=0'), ['--inspect=127.0.0.1:0']);
    assert.deepEqual(args('--inspect=localhost'), ['--inspect=127.0.0.1:9229']);
    assert.deepEqual(args('--inspect=127.0.0.1:9300'), ['--inspect=127.0.0.1:9300']);
    for (const value of [
      '0.0.0.0',
      '0.0.0.0:9229',
      '192.168.0.2:9229',
      '[::]:9229',
      'example.org',
      '80',
      '127.0.0.19',
    ]) {
      assert.deepEqual(args(`--inspect=${value}`), [], value);
      assert.match(refusals(`--inspect=${value}`)[0], /can run code in the worker/);
    }
    assert.deepEqual(args('--inspect-brk --inspect-port=0.0.0.0:9229 --inspect-wait'), []);
  });

  test('what loads or runs code is refused, with the list of what is not', () => {
    for (const flag of [
      '--require=./x.cjs',
      '-r ./x.cjs',
      '--import=data:text/javascript,1',
      '--loader ./x.mjs',
      '--experimental-loader=x',
      '--env-file=x',
      '--eval=1',
      '--no-such-flag',
      'word',
      '--constructor',
    ]) {
      assert.deepEqual(args(`${flag} --trace-warnings`), ['--trace-warnings'], flag);
      assert.match(refusals(flag)[0], /is not taken over; what is: --max-old-space-size, /);
      assert.equal(refusals(flag).length, 1);
    }
  });

  test('values are checked', () => {
    for (const text of [
      '--max-old-space-size=lots',
      '--max-old-space-size',
      '--trace-warnings=1',
      '--max-old-space-size=1',
    ]) {
      assert.deepEqual(args(text), [], text);
      assert.equal(refusals(text).length, 1, text);
    }
    assert.deepEqual(args('--title="open'), []);
    assert.match(refusals('--title="open')[0], /not closed/);
  });

  test('Node takes every flag of the list', () => {
    const { ALLOWED_FLAGS } = require('../settings/node-options.cjs');
    const values = {
      '--inspect': '0',
      '--heapsnapshot-signal': 'SIGUSR2',
      '--unhandled-rejections': 'warn',
      '--dns-result-order': 'ipv4first',
    };
    const text = Object.entries(ALLOWED_FLAGS)
      .map(([flag, kind]) => (kind === null ? flag : `${flag}=${values[flag] ?? 100}`))
      .join(' ');
    const { args: taken, refused } = parseNodeOptions(text);
    assert.deepEqual(refused, []);
    assert.equal(taken.length, Object.keys(ALLOWED_FLAGS).length);
    execFileSync(process.execPath, [...taken, '--eval', '0'], { stdio: 'pipe' });
  });

  test('the file wins as a whole, and what is refused is in the report', (t) => {
    const { read } = homeWith(t, {
      own: { NODE_OPTIONS: '--max-old-space-size=512 --require ./spy.cjs' },
      legacy: { NODE_OPTIONS: '--max-old-space-size=128' },
      environment: { NODE_OPTIONS: '--trace-warnings' },
    });
    const { values, sources, nodeArgs, rejected } = read();
    assert.equal(values.NODE_OPTIONS, '--max-old-space-size=512');
    assert.deepEqual(nodeArgs, ['--max-old-space-size=512']);
    assert.equal(sources.NODE_OPTIONS, 'file');
    assert.equal(rejected.length, 1);
    assert.equal(rejected[0].value, '--require=./spy.cjs');
    assert.match(rejected[0].message, /^NODE_OPTIONS in settings\.json: "--require=\.\/spy\.cjs" is not taken over/);
  });
});

test('needs neither the binary nor anything else of the package', () => {
  const code = `
    const { readSettings } = require('claude-mem-native/settings');
    const { ecosystem } = require('claude-mem-native/ecosystem');
    readSettings(); ecosystem({ script: 'x.cjs', warn() {} });
    console.log(Object.keys(require.cache).filter((file) => file.endsWith('.node') || /[\\\\/]index\\.js$/.test(file)).length);`;
  const printed = execFileSync(process.execPath, ['--eval', code], { cwd: ROOT, encoding: 'utf8' });
  assert.equal(printed.trim(), '0');
});

test('import gives the same by name', () => {
  const code = `
    import { readSettings, parseNodeOptions, KNOWN_KEYS } from 'claude-mem-native/settings';
    import { ecosystem, workerApp, EXIT_GIVE_UP } from 'claude-mem-native/ecosystem';
    console.log([readSettings, parseNodeOptions, KNOWN_KEYS, ecosystem, workerApp, EXIT_GIVE_UP].map((one) => typeof one).join());`;
  const printed = execFileSync(process.execPath, ['--input-type=module', '--eval', code], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  assert.equal(printed.trim(), 'function,function,object,function,function,number');
});
