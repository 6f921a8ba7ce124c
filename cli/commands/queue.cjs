'use strict';
// queue: what waits and what is dead, and what can be done about it. A client does all of it, beside a worker that runs
// or without one, but for throwing away what waits: some of that may be in the worker's hands.

const { Fault, usage } = require('../faults.cjs');
const { asOwner, asQueueClient } = require('../opening.cjs');
const { bytes, counted, duration, print, printJson, printTable, shortened, time } = require('../output.cjs');
const { durationMs, ids, waitSeconds, wholeNumber } = require('../arguments.cjs');

/** A page of dead letters. */
const PAGE = 10_000;
/** Bytes of a waiting message that `show` reads. */
const SHOWN = 65_536;
const LOOKING = { readOnly: true };

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

function showSessions(waiting, now) {
  if (waiting.length === 0) return print('nothing waits');
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

function showMessages(messages, now) {
  print();
  printTable(
    ['message', 'session', 'type', 'bytes', 'waits', 'attempts', 'state', 'text'],
    messages.map((each) => [
      String(each.id),
      String(each.sessionDbId),
      each.type ?? '',
      bytes(each.bytes),
      duration(now - each.enqueuedAtEpoch),
      String(each.attempts),
      each.leased ? 'worked on' : 'waiting',
      shortened(each.error ?? each.preview, 60),
    ]),
  );
}

function showDeadLetters(dead) {
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

async function list(options) {
  const { session, project, limit, after } = options;
  const only = session ? { sessionDbId: session } : {};
  const withMessages = options.messages || session !== undefined || project !== undefined;
  const found = await asQueueClient(
    options,
    async ({ queue }) => ({
      waiting: (await queue.discover()).filter(({ sessionDbId }) => !session || sessionDbId === session),
      ...(withMessages && {
        messages: await queue.peek({
          ...only,
          limit: Math.min(limit, 1_000),
          after,
          ...(project !== undefined && { project }),
        }),
      }),
      dead: await queue.deadLetters({ ...only, limit }),
    }),
    LOOKING,
  );
  if (options.json) return printJson(found);
  const now = Date.now();
  showSessions(found.waiting, now);
  if (found.messages?.length > 0) showMessages(found.messages, now);
  showDeadLetters(found.dead);
}

/** A dead letter with its message, or a waiting message with the beginning of its text. */
async function show(id, options) {
  const found = await asQueueClient(
    options,
    async ({ queue }) => {
      const letter = await queue.getDeadLetter(id);
      if (letter !== null) return letter;
      const [message] = await queue.peek({ after: id - 1, limit: 1, previewBytes: SHOWN });
      return message?.id === id ? message : null;
    },
    LOOKING,
  );
  if (found === null)
    throw new Fault(
      `no message and no dead letter has the id ${id}; "claude-mem-native queue list --messages" shows them`,
    );
  printJson(found);
}

async function retry(given, options) {
  if (given.length === 0 && !options.all && !options.session)
    throw usage('name the dead letters to enqueue again, or say --all or --session');
  if (given.length > 0 && (options.all || options.session)) throw usage('name dead letters, or say --all or --session');
  const { retried, failed } = await asQueueClient(options, async ({ queue }) => {
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
  if (options.waiting) {
    const count = await asOwner(options, 'queue purge --waiting', ({ queue }) => queue.purge(options.session));
    return print(`${counted(count, 'waiting message')} thrown away`);
  }
  const count = await asQueueClient(options, ({ queue }) => queue.purgeDeadLetters(filters));
  print(`${counted(count, 'dead letter')} thrown away`);
}

const ofWhom = ({ session }) => (session ? `session ${session}` : 'all sessions');

async function pause(options) {
  await asQueueClient(options, async ({ queue }) => {
    await queue.pause(options.session ?? null, {
      ...(options.for !== undefined && { untilEpoch: Date.now() + options.for }),
      ...(options.reason !== undefined && { reason: options.reason }),
    });
  });
  print(`deliveries of ${ofWhom(options)} are paused${options.for ? ` for ${duration(options.for)}` : ''}`);
}

async function resume(options) {
  const left = await asQueueClient(options, async ({ queue }) => {
    await queue.resume(options.session ?? null);
    return (await queue.discover()).filter(
      ({ sessionDbId, paused }) => paused && (!options.session || sessionDbId === options.session),
    );
  });
  if (left.length === 0) return print(`deliveries of ${ofWhom(options)} go on`);
  const [{ sessionDbId }] = left;
  print(
    options.session
      ? `session ${sessionDbId} waits on, because all sessions are paused: resume without --session`
      : `deliveries go on, but for ${counted(left.length, 'session')} paused by ${left.length === 1 ? 'itself' : 'themselves'}: resume with --session ${sessionDbId}`,
  );
}

function register(program) {
  const queue = program
    .command('queue')
    .description('what waits and what is dead: list, show, retry, purge, pause, resume');
  const session = ['--session <id>', 'only of this session (its row id)', wholeNumber(1, Number.MAX_SAFE_INTEGER)];
  queue
    .command('list')
    .description('sessions with waiting messages, the messages themselves, and dead letters')
    .option(...session)
    .option('--messages', 'list the messages, too; --session and --project do so by themselves')
    .option('--project <name>', 'messages of this project only')
    .option('--after <id>', 'messages with a higher id: the next page', wholeNumber(0, Number.MAX_SAFE_INTEGER), 0)
    .option('--limit <n>', 'messages, and dead letters, at most', wholeNumber(1, 10_000), 100)
    .option('--json', 'as JSON')
    .action((_options, command) => list(command.optsWithGlobals()));
  queue
    .command('show')
    .description('one dead letter with its message, or one waiting message, as JSON')
    .argument('<id>', 'its id', wholeNumber(1, Number.MAX_SAFE_INTEGER))
    .action((id, _options, command) => show(id, command.optsWithGlobals()));
  queue
    .command('retry')
    .description('enqueue dead letters again')
    .argument('[ids...]', 'their ids', ids, [])
    .option('--all', 'all of them')
    .option(...session)
    .action((given, _options, command) => retry(given, command.optsWithGlobals()));
  queue
    .command('purge')
    .description('throw dead letters away, or what waits in a session (for that the worker must be stopped)')
    .argument('[ids...]', 'ids of dead letters', ids, [])
    .option('--all', 'all dead letters')
    .option(...session)
    .option('--older-than <time>', 'dead letters that died longer ago, such as 30d', durationMs)
    .option('--waiting', 'what waits in the session of --session, instead of dead letters')
    .option('--yes', 'it is meant')
    .option('--wait <seconds>', 'with --waiting: wait so long for the worker to stop', waitSeconds)
    .action((given, _options, command) => purge(given, command.optsWithGlobals()));
  queue
    .command('pause')
    .description('stop deliveries, also over restarts; a worker that runs hears of it within a second')
    .option(...session)
    .option('--for <time>', 'until so long from now, such as 2h', durationMs)
    .option('--reason <text>', 'why, for people')
    .action((_options, command) => pause(command.optsWithGlobals()));
  queue
    .command('resume')
    .description('let deliveries go on')
    .option(...session)
    .action((_options, command) => resume(command.optsWithGlobals()));
}

module.exports = { register };
