'use strict';
// queue: what waits, what is dead, and what the owner may do about it.

const { Fault, usage } = require('../faults.cjs');
const { asClient, asOwner } = require('../opening.cjs');
const { bytes, counted, duration, print, printJson, printTable, shortened, time } = require('../output.cjs');
const { durationMs, ids, waitSeconds, wholeNumber } = require('../arguments.cjs');

/** A page of dead letters. */
const PAGE = 10_000;
const LOOKING = { parts: ['queue'], readOnly: true };

/** Every dead letter, of one session or of all, the newest first. */
async function allDeadLetters(queue, { session }) {
  const letters = [];
  for (;;) {
    const filter = { limit: PAGE, offset: letters.length, ...(session && { sessionDbId: session }) };
    const page = await queue.deadLetters(filter);
    letters.push(...page);
    if (page.length < PAGE) return letters;
  }
}

async function list(options) {
  const { waiting, dead } = await asClient(
    options,
    async ({ queue }) => ({
      waiting: (await queue.discover()).filter(
        ({ sessionDbId }) => !options.session || sessionDbId === options.session,
      ),
      dead: await queue.deadLetters({
        limit: options.limit,
        ...(options.session && { sessionDbId: options.session }),
      }),
    }),
    LOOKING,
  );
  if (options.json) return printJson({ waiting, dead });
  const now = Date.now();
  if (waiting.length === 0) print('nothing waits');
  else {
    printTable(
      ['session', 'messages', 'bytes', 'oldest', 'attempts', 'state'],
      waiting.map((each) => [
        String(each.sessionDbId),
        String(each.depth),
        bytes(each.bytes),
        each.oldestEpoch === null ? '' : duration(now - each.oldestEpoch),
        String(each.attempts),
        each.paused ? 'paused' : each.readyAtEpoch > now ? `again in ${duration(each.readyAtEpoch - now)}` : 'waiting',
      ]),
    );
  }
  print();
  if (dead.length === 0) return print('no dead letters');
  printTable(
    ['dead letter', 'session', 'type', 'attempts', 'died', 'why', 'error'],
    dead.map((each) => [
      String(each.id),
      String(each.sessionDbId),
      each.type ?? '',
      String(each.attempts),
      time(each.deadAtEpoch),
      each.reason,
      shortened(each.error, 60),
    ]),
  );
}

async function show(id, options) {
  const letter = await asClient(options, ({ queue }) => queue.getDeadLetter(id), LOOKING);
  if (letter === null)
    throw new Fault(`there is no dead letter ${id}; "claude-mem-native queue list" shows those there are`);
  printJson(letter);
}

async function retry(given, options) {
  if (given.length === 0 && !options.all && !options.session)
    throw usage('name the dead letters to enqueue again, or say --all or --session');
  if (given.length > 0 && (options.all || options.session)) throw usage('name dead letters, or say --all or --session');
  const { retried, failed } = await asOwner(options, 'queue retry', async ({ queue }) => {
    // The oldest first, so that they come in the order in which they died.
    const wanted = given.length > 0 ? given : (await allDeadLetters(queue, options)).map(({ id }) => id).reverse();
    const outcome = { retried: 0, failed: [] };
    for (const id of wanted) {
      try {
        await queue.retryDeadLetter(id);
        outcome.retried += 1;
      } catch (error) {
        // Its session is gone: the others can still go. Whatever else it is holds for all of them.
        if (error.code !== 'ERR_NOT_FOUND') throw error;
        outcome.failed.push(error.message);
      }
    }
    return outcome;
  });
  print(`${counted(retried, 'dead letter')} enqueued again`);
  if (failed.length > 0) throw new Fault(`${counted(failed.length, 'dead letter')} could not be: ${failed[0]}`);
}

async function purge(given, options) {
  const filters = {
    ...(given.length > 0 && { ids: given }),
    ...(options.session && { sessionDbId: options.session }),
    ...(options.olderThan !== undefined && { olderThanEpoch: Date.now() - options.olderThan }),
  };
  if (options.waiting) {
    if (!options.session || given.length > 0 || options.olderThan !== undefined || options.all)
      throw usage('--waiting throws away all that waits in one session: say which with --session, and nothing else');
  } else if (Object.keys(filters).length === 0 && !options.all) {
    throw usage('name the dead letters to throw away, or say --all, --session or --older-than');
  } else if (Object.keys(filters).length > 0 && options.all) {
    throw usage('--all throws all dead letters away: say nothing else with it');
  }
  if (!options.yes && given.length === 0)
    throw usage('this cannot be undone; say --yes if it is meant ("claude-mem-native export" keeps a copy)');
  await asOwner(options, 'queue purge', async ({ queue }) => {
    if (options.waiting) print(`${counted(await queue.purge(options.session), 'waiting message')} thrown away`);
    else print(`${counted(await queue.purgeDeadLetters(filters), 'dead letter')} thrown away`);
  });
}

const ofWhom = ({ session }) => (session ? `session ${session}` : 'all sessions');

async function pause(options) {
  await asOwner(options, 'queue pause', async ({ queue }) => {
    await queue.pause(options.session ?? null, {
      ...(options.for !== undefined && { untilEpoch: Date.now() + options.for }),
      ...(options.reason !== undefined && { reason: options.reason }),
    });
  });
  print(`deliveries of ${ofWhom(options)} are paused${options.for ? ` for ${duration(options.for)}` : ''}`);
}

async function resume(options) {
  await asOwner(options, 'queue resume', ({ queue }) => queue.resume(options.session ?? null));
  print(`deliveries of ${ofWhom(options)} go on`);
}

function register(program) {
  const queue = program
    .command('queue')
    .description('what waits and what is dead: list, show, retry, purge, pause, resume');
  const session = ['--session <id>', 'only of this session (its row id)', wholeNumber(1, Number.MAX_SAFE_INTEGER)];
  const wait = ['--wait <seconds>', 'wait so long for the worker to stop', waitSeconds];
  queue
    .command('list')
    .description('sessions with waiting messages, and dead letters')
    .option(...session)
    .option('--limit <n>', 'dead letters at most', wholeNumber(1, 10_000), 100)
    .option('--json', 'as JSON')
    .action((_options, command) => list(command.optsWithGlobals()));
  queue
    .command('show')
    .description('one dead letter with its message, as JSON')
    .argument('<id>', 'its id', wholeNumber(1, Number.MAX_SAFE_INTEGER))
    .action((id, _options, command) => show(id, command.optsWithGlobals()));
  queue
    .command('retry')
    .description('enqueue dead letters again (the worker must be stopped)')
    .argument('[ids...]', 'their ids', ids, [])
    .option('--all', 'all of them')
    .option(...session)
    .option(...wait)
    .action((given, _options, command) => retry(given, command.optsWithGlobals()));
  queue
    .command('purge')
    .description('throw dead letters away, or what waits in a session (the worker must be stopped)')
    .argument('[ids...]', 'ids of dead letters', ids, [])
    .option('--all', 'all dead letters')
    .option(...session)
    .option('--older-than <time>', 'dead letters that died longer ago, such as 30d', durationMs)
    .option('--waiting', 'what waits in the session of --session, instead of dead letters')
    .option('--yes', 'it is meant')
    .option(...wait)
    .action((given, _options, command) => purge(given, command.optsWithGlobals()));
  queue
    .command('pause')
    .description('stop deliveries, also over restarts (the worker must be stopped)')
    .option(...session)
    .option('--for <time>', 'until so long from now, such as 2h', durationMs)
    .option('--reason <text>', 'why, for people')
    .option(...wait)
    .action((_options, command) => pause(command.optsWithGlobals()));
  queue
    .command('resume')
    .description('let deliveries go on (the worker must be stopped)')
    .option(...session)
    .option(...wait)
    .action((_options, command) => resume(command.optsWithGlobals()));
}

module.exports = { register };
