'use strict';
// `setup` and `import-chroma`: making a data directory ready.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { describe, test } = require('node:test');

const { dataDirectory } = require('../data-directory.cjs');
const { filled, run, saidOnce, succeeds } = require('./running.cjs');

describe('setup', () => {
  test('setup: without a model the words are indexed, and it says what is missing', async (t) => {
    const directory = path.join(dataDirectory(t).directory, 'new');
    const nowhere = dataDirectory(t).directory;
    const said = await succeeds(directory, ['setup'], { env: { CLAUDE_MEM_MODEL_DIR: nowhere } });
    assert.match(said, /^model: /m);
    assert.match(said, /searches go on by words; put model\.onnx into /);
    assert.match(said, /^ready$/m);
    assert.ok(fs.existsSync(path.join(directory, 'claude-mem.db')));
    saidOnce(await run(directory, ['setup', '--model', nowhere]), /there is no model\.onnx at /);
  });

  test('import-chroma: no directory, and one that is none', async (t) => {
    const { directory } = await filled(t);
    saidOnce(await run(directory, ['import-chroma']), /there is no Chroma directory in /);
    saidOnce(await run(directory, ['import-chroma', directory]), /chroma/i);
  });
});
