'use strict';
// A hook of the editor: `node hook.cjs prompt|tool|stop`, with what happened as JSON on standard input.
//
// The worker is asked first. Where it is down, does not answer in time or cannot take the message, the hook enqueues
// by itself, straight into the queue's file: nothing is lost while no worker runs, and one that starts later finds
// all of it. Both ways carry the same dedupe key, so that a message whose answer came too late is not stored twice.

const { openMemory } = require('../..');
const { readEvent } = require('./events.cjs');
const { WorkerApi } = require('./worker-api.cjs');

/** What the editor reads: it goes on, and shows nothing of this. */
const GO_ON = JSON.stringify({ continue: true, suppressOutput: true });

/** A client of the data directory, whose schema an older claude-mem may have left behind. */
async function openClient() {
  try {
    return await openMemory({ role: 'client' });
  } catch (error) {
    if (error.missingStep === undefined) throw error;
    // A client changes no schema. Whoever owns the directory has brought it up to date once it is open.
    const owner = await openMemory();
    await owner.dispose();
    return openMemory({ role: 'client' });
  }
}

async function text(stream) {
  let all = '';
  for await (const chunk of stream.setEncoding('utf8')) all += chunk;
  return all;
}

/** Stores a prompt, and has the worker get ready for its session. */
async function prompt(memory, worker, event) {
  const { sessionDbId, promptNumber } = await memory.store.beginPrompt(event.session, event.project, event.prompt);
  // The prompt is stored: a worker that is down now reads it when it starts with the session.
  if (await worker.isUp()) await worker.init(sessionDbId, { ...event.init, promptNumber });
}

/** Hands a message in: to the worker, or to the queue. */
async function message(memory, worker, event) {
  const [{ sessionDbId, promptNumber }, isUp] = await Promise.all([
    memory.store.touchSession(event.session),
    worker.isUp(),
  ]);
  const message = { ...event.message, prompt_number: promptNumber };
  if (isUp && (await worker.send(sessionDbId, message, event.key))) return;
  await memory.queue.enqueue(sessionDbId, message, { dedupeKey: event.key });
  // It may only have been slow; then it need not find the message by itself.
  if (isUp) await worker.poke(sessionDbId);
}

async function main() {
  const event = readEvent(process.argv[2], JSON.parse(await text(process.stdin)));
  const memory = await openClient();
  try {
    await (event.kind === 'prompt' ? prompt : message)(memory, new WorkerApi(), event);
  } finally {
    await memory.dispose();
  }
}

main().then(
  () => process.stdout.write(`${GO_ON}\n`),
  (error) => {
    process.stderr.write(`claude-mem hook: ${error.message}\n`);
    process.exitCode = 1; // shown to the user; it does not block the editor
  },
);
