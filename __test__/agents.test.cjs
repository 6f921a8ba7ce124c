'use strict';
// The worker's agents: what the rules derive from tool calls, and how a command of the user's own is asked.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { test } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');
const { createAgent: createRules, observeMessage } = require('../examples/worker/agents/rule-based.cjs');
const { createAgent: createCommand, splitCommand } = require('../examples/worker/agents/command.cjs');
const { readAnswer } = require('../examples/worker/agents/answer.cjs');
const { loadAgent } = require('../examples/worker/agents/load-agent.cjs');
const { removeTree } = require('./remove-tree.cjs');

const NODE = JSON.stringify(process.execPath);

function toolCall(tool, input, response, more = {}) {
  return {
    type: 'observation',
    tool_name: tool,
    tool_input: JSON.stringify(input),
    tool_response: typeof response === 'string' ? response : JSON.stringify(response),
    cwd: '/home/me/project',
    ...more,
  };
}

function observe(tool, input, response, context = {}) {
  return observeMessage(toolCall(tool, input, response), context);
}

function edit(file, before, after, context) {
  return observe(
    'Edit',
    { file_path: `/home/me/project/${file}`, old_string: before, new_string: after },
    { filePath: file },
    context,
  );
}

/** Writes a program for the command agent and returns the command that runs it. */
function program(t, source) {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'claude-mem-agent-'));
  t.after(() => removeTree(directory));
  const file = path.join(directory, 'agent.cjs');
  fs.writeFileSync(file, source);
  return JSON.stringify([process.execPath, file]);
}

test('an edit that says it fixes something is a bugfix, with what changed', () => {
  const observation = edit(
    'src/token.ts',
    'refresh();',
    '// fix: the token was refreshed twice per request\nrefreshOnce();',
  );
  assert.equal(observation.type, 'bugfix');
  assert.equal(observation.title, 'Fixed token.ts');
  assert.deepEqual(observation.files_modified, ['src/token.ts']);
  assert.deepEqual(observation.concepts, ['problem-solution', 'what-changed']);
  assert.ok(
    observation.facts.some((fact) => fact.includes('refreshed twice per request')),
    observation.facts.join('\n'),
  );
});

test('the type of an edit follows from its content, its file and the request', () => {
  const types = {
    feature: edit('src/a.ts', 'const x = 1;', 'const x = 1;\nexport function claimBatch(id) {\n  return id;\n}'),
    refactor: edit(
      'src/a.ts',
      'const oldName = load(path, size);\nuse(oldName);',
      'const newName = load(path, size);\nuse(newName);',
    ),
    decision: edit('docs/adr/0003-queue.md', 'We keep it in memory.', 'We decided to keep the queue in a file.'),
    change: edit('package.json', '"version": "1.0.0"', '"version": "1.0.1"'),
    bugfix: edit('src/a.ts', 'return rows[0].id;', 'if (!rows.length) throw new Error("no rows");\nreturn rows[0].id;'),
  };
  for (const [type, observation] of Object.entries(types)) assert.equal(observation.type, type, observation.title);
  assert.equal(edit('src/a.ts', 'let a = 5;', 'let a = 6;', { userPrompt: 'Fix the login bug' }).type, 'bugfix');
  assert.equal(edit('src/a.ts', 'let a = 5;', 'let a = 6;', {}).type, 'change');
});

test('a new file is a feature named after the file, with what it defines', () => {
  const content = '// Leases of batches.\nexport class LeaseTable {}\nexport function grant() {}\n';
  const observation = observe('Write', { file_path: '/home/me/project/src/lease.ts', content }, { type: 'create' });
  assert.equal(observation.type, 'feature');
  assert.equal(observation.title, 'Added lease.ts');
  assert.equal(observation.subtitle, 'Leases of batches.');
  assert.ok(observation.facts.includes('Defines LeaseTable, grant'));
});

test('reading a file is a discovery about what it holds', () => {
  const content =
    '     1→// Keeps the queue on disk.\n     2→pub struct Queue {}\n     3→pub fn claim() {}\n     4→// TODO: measure the claim under load\n';
  const observation = observe(
    'Read',
    { file_path: '/home/me/project/src/queue.rs' },
    { type: 'text', file: { content, totalLines: 4 } },
  );
  assert.equal(observation.type, 'discovery');
  assert.equal(observation.title, 'queue.rs defines Queue, claim');
  assert.equal(observation.subtitle, 'Keeps the queue on disk.');
  assert.deepEqual(observation.files_read, ['src/queue.rs']);
  assert.ok(observation.facts.includes('TODO: measure the claim under load'));
  assert.ok(observation.concepts.includes('gotcha'));
});

test('commands: commits by their message, test runs with figures, failures with their errors', () => {
  const commit = observe(
    'Bash',
    { command: 'git commit -m "feat: durable queue"' },
    { stdout: ' 3 files changed, 40 insertions(+)' },
  );
  assert.deepEqual([commit.type, commit.title], ['feature', 'Committed: feat: durable queue']);
  const red = observe(
    'Bash',
    { command: 'cd app && npm test' },
    { stdout: '12 passed, 2 failed\nError: expected 1 to be 2' },
  );
  assert.deepEqual([red.type, red.title], ['discovery', 'Tests fail: 12 passed, 2 failed']);
  assert.ok(red.facts.some((fact) => fact.includes('expected 1 to be 2')));
  const green = observe(
    'Bash',
    { command: 'cargo test' },
    { stdout: 'test result: ok. 7 passed; 0 failed; 1 ignored' },
  );
  assert.equal(green.title, 'Tests pass: 7 passed, 0 failed, 1 skipped');
  const failed = observe('Bash', { command: 'node server.js' }, { stderr: 'Error: listen EADDRINUSE', exitCode: 1 });
  assert.equal(failed.title, 'Command failed: node server.js');
  assert.ok(failed.concepts.includes('gotcha'));
  assert.equal(
    observe('Bash', { command: 'npm install express' }, { stdout: 'added 65 packages' }).title,
    'Installed express',
  );
});

test('trivial calls leave no observation', () => {
  assert.equal(observe('Bash', { command: 'ls -la' }, { stdout: 'total 4' }), null);
  assert.equal(observe('Bash', { command: 'cd /tmp && pwd' }, { stdout: '/tmp' }), null);
  assert.equal(observe('TodoWrite', { todos: [] }, 'Todos have been modified successfully.'), null);
  assert.equal(observe('Grep', { pattern: 'nowhere' }, 'No matches found'), null);
  assert.equal(observe('Edit', { file_path: '/a.ts', old_string: 'a', new_string: 'a' }, {}), null);
  assert.equal(observe('Read', { file_path: '/home/me/project/empty.txt' }, ''), null);
});

test('messages of any shape are survived', () => {
  const odd = [
    undefined,
    '',
    'null',
    '[]',
    '{"a":',
    '"text"',
    '{"file_path":7}',
    '{"command":["x"]}',
    '{"edits":[null,3]}',
  ];
  for (const tool of [
    'Read',
    'Edit',
    'MultiEdit',
    'Write',
    'Bash',
    'Grep',
    'Glob',
    'constructor',
    '__proto__',
    undefined,
  ]) {
    for (const input of odd) {
      for (const response of odd) {
        assert.doesNotThrow(() =>
          observeMessage({ type: 'observation', tool_name: tool, tool_input: input, tool_response: response }, {}),
        );
      }
    }
  }
});

test('a very large message is looked at only in its beginning', () => {
  const content = `// Opens with this sentence here.\nfunction first() {}\n${'let filler = "\\n";\n'.repeat(1_500_000)}`;
  const read = observe(
    'Read',
    { file_path: '/home/me/project/big.js' },
    { type: 'text', file: { filePath: '/home/me/project/big.js', content } },
  );
  assert.deepEqual([read.title, read.files_read], ['big.js defines first', ['big.js']]);
  const written = observe('Write', { file_path: '/home/me/project/big.js', content }, { type: 'create' });
  assert.deepEqual([written.title, written.files_modified], ['Added big.js', ['big.js']]);
});

test('no text holds up the rules for long, whatever it repeats', () => {
  const units = [
    'x',
    ' ',
    '\n',
    '1',
    '"',
    '/',
    '#',
    '*',
    '.a',
    '# ',
    'a/',
    '\\',
    '```',
    '-m "',
    'git commit ',
    '{"a":"',
    'TODO:',
    ':\n',
    '1→',
    'function a',
    '/* ',
    'fix',
  ];
  for (const unit of units) {
    const long = unit.repeat(400_000 / unit.length);
    for (const tool of ['Read', 'Edit', 'Write', 'Bash', 'Grep', 'WebFetch']) {
      const input = {
        file_path: '/a/b.js',
        old_string: long.slice(1),
        new_string: long,
        content: long,
        command: `cat a.txt ${long}`,
        pattern: 'p',
      };
      observe(tool, input, { stdout: long }, { userPrompt: long });
      observe(tool, { file_path: '/a/b.js', command: long }, long, {});
    }
  }
});

test('the same messages give the same answer', async () => {
  const messages = [
    toolCall('Bash', { command: 'cargo test' }, { stdout: '3 passed' }),
    { type: 'summarize', last_assistant_message: 'Done.' },
  ];
  const answers = await Promise.all([1, 2].map(() => createRules().observe(messages, { userPrompt: 'Test it' })));
  assert.deepEqual(answers[0], answers[1]);
});

test('the summary looks back on the session', async () => {
  const { summary } = await createRules().observe(
    [
      toolCall('Bash', { command: 'npm test' }, { stdout: '3 passed, 1 failed' }),
      {
        type: 'summarize',
        last_user_message: 'go on',
        last_assistant_message:
          'I added the lease table. The root cause was a stale cursor. Next, the halving should be tested.',
      },
    ],
    {
      userPrompt: 'Make the queue durable',
      history: {
        observations: [
          { type: 'feature', title: 'Added lease.ts', subtitle: null },
          { type: 'discovery', title: 'Read queue.rs', subtitle: null },
        ],
        filesRead: ['src/queue.rs'],
        filesModified: ['src/lease.ts'],
      },
    },
  );
  assert.equal(summary.request, 'Make the queue durable');
  assert.match(summary.investigated, /Read queue\.rs\. Tests fail: 3 passed, 1 failed/);
  assert.match(summary.learned, /root cause was a stale cursor/);
  assert.match(summary.completed, /Added lease\.ts/);
  assert.match(summary.next_steps, /Make the tests pass.*halving should be tested/);
  assert.match(summary.notes, /3 observations, 1 file modified, 1 read/);
});

test('what an agent answers is brought into shape or refused', () => {
  const { observations, summary } = readAnswer({
    observations: [{ type: 'insight', title: 'A', facts: null }],
    summary: { request: 'r' },
  });
  assert.deepEqual(observations[0], {
    type: 'change',
    title: 'A',
    subtitle: null,
    narrative: null,
    facts: [],
    concepts: [],
    files_read: [],
    files_modified: [],
  });
  assert.deepEqual(summary, {
    request: 'r',
    investigated: null,
    learned: null,
    completed: null,
    next_steps: null,
    notes: null,
  });
  assert.deepEqual(readAnswer({}), { observations: [], summary: null });
  for (const answer of [
    null,
    [],
    'text',
    { observations: {} },
    { observations: [null] },
    { summary: [] },
    { observations: [{ title: {} }] },
  ]) {
    assert.throws(() => readAnswer(answer), TypeError);
  }
});

test('a command line is split into words', () => {
  assert.deepEqual(splitCommand(' node  agent.js --model "a b" \'c d\' '), [
    'node',
    'agent.js',
    '--model',
    'a b',
    'c d',
  ]);
  assert.deepEqual(splitCommand('["node", "a b.js"]'), ['node', 'a b.js']);
  assert.deepEqual(splitCommand('tool --name="a b"'), ['tool', '--name=a b']);
  assert.throws(() => splitCommand('  '), /empty/);
  assert.throws(() => splitCommand('[]'), /list of texts/);
});

test('a command is given messages and context, and its answer is read', async (t) => {
  const agent = createCommand({
    command: program(
      t,
      `
      let text = '';
      process.stdin.on('data', (chunk) => { text += chunk; }).on('end', () => {
        const { messages, context } = JSON.parse(text);
        console.log(JSON.stringify({ observations: [{ type: 'discovery', title: messages[0].tool_name + ' in ' + context.project }] }));
      });`,
    ),
  });
  const answer = await agent.observe([toolCall('Read', {}, 'x'.repeat(500_000))], {
    project: 'p',
    signal: new AbortController().signal,
  });
  assert.deepEqual(answer, { observations: [{ type: 'discovery', title: 'Read in p' }] });
});

test('a command that says nothing has nothing to note; one that says no JSON is an error', async (t) => {
  assert.deepEqual(await createCommand({ command: program(t, '') }).observe([], {}), {
    observations: [],
    summary: null,
  });
  await assert.rejects(
    createCommand({ command: program(t, 'console.log("hello")') }).observe([], {}),
    /did not answer JSON/,
  );
});

test('a command that fails says how', async (t) => {
  const agent = createCommand({ command: program(t, 'console.error("no key"); process.exit(3)') });
  await assert.rejects(agent.observe([], {}), /exit code 3: no key/);
});

test('a command that cannot be started is not the fault of the messages', async () => {
  const agent = createCommand({ command: 'no-such-program-anywhere' });
  await assert.rejects(agent.observe([], {}), { code: 'ERR_AGENT_UNAVAILABLE' });
});

test('a command that takes too long is ended, with what it started', async (t) => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'claude-mem-agent-'));
  t.after(() => removeTree(directory));
  const mark = path.join(directory, 'grandchild-lives');
  const agent = createCommand({
    timeoutMs: 700,
    command: program(
      t,
      `
      require('node:child_process').spawn(process.execPath, ['-e', ${JSON.stringify(
        `setInterval(() => require('node:fs').writeFileSync(${JSON.stringify(mark)}, String(Date.now())), 50)`,
      )}], { stdio: 'inherit' });
      setInterval(() => {}, 1000);`,
    ),
  });
  await assert.rejects(agent.observe([], {}), /no answer within 700 ms/);
  await sleep(200);
  const last = fs.existsSync(mark) ? fs.readFileSync(mark, 'utf8') : null;
  await sleep(400);
  assert.equal(fs.existsSync(mark) ? fs.readFileSync(mark, 'utf8') : null, last, 'the grandchild still writes');
});

test('a command that writes without end is ended', async (t) => {
  const agent = createCommand({
    maxOutputBytes: 100_000,
    command: program(t, 'setInterval(() => process.stdout.write("x".repeat(10000)), 1)'),
  });
  await assert.rejects(agent.observe([], {}), /more than 100000 bytes/);
});

test('a command is stopped by its signal, and leaves no listener on it', async (t) => {
  const { getEventListeners } = require('node:events');
  const stopper = new AbortController();
  const agent = createCommand({ command: program(t, 'setInterval(() => {}, 1000)') });
  const asked = agent.observe([], { signal: stopper.signal });
  setTimeout(() => stopper.abort(), 200);
  await assert.rejects(asked, /was stopped/);
  assert.equal(getEventListeners(stopper.signal, 'abort').length, 0);
});

test('an agent is chosen by name, by module or by command', (t) => {
  assert.equal(loadAgent({ timeoutMs: 1000 }).name, 'rules');
  assert.equal(loadAgent({ agentCommand: `${NODE} x.cjs`, timeoutMs: 1000 }).name, `command ${process.execPath}`);
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'claude-mem-agent-'));
  t.after(() => removeTree(directory));
  const file = path.join(directory, 'own.cjs');
  fs.writeFileSync(
    file,
    "exports.createAgent = ({ timeoutMs }) => ({ name: 'own ' + timeoutMs, observe: async () => ({}) });",
  );
  assert.equal(loadAgent({ agent: file, timeoutMs: 5 }).name, 'own 5');
  fs.writeFileSync(path.join(directory, 'none.cjs'), '');
  assert.throws(() => loadAgent({ agent: path.join(directory, 'none.cjs') }), /does not export createAgent/);
});
