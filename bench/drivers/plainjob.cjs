'use strict';
// plainjob on better-sqlite3: a job type a session; what is stored for a batch goes into the same file.

const path = require('node:path');
const { prepare } = require('../data.cjs');
const { betterSqlite3, requirePeer } = require('../peers.cjs');
const { pragmas, statements } = require('../port/queue.cjs');

module.exports = {
  title: 'plainjob',
  provides: ['queue', 'durable', 'claims', 'commits each'],
  unavailable: () =>
    betterSqlite3() && requirePeer('plainjob') ? null : 'plainjob or better-sqlite3 is not installed',

  async open(directory, { durability } = {}) {
    const { better, defineQueue } = requirePeer('plainjob');
    await prepare(directory);
    const db = new (betterSqlite3())(path.join(directory, 'claude-mem.db'));
    const silent = { error() {}, warn() {}, info() {}, debug() {} };
    const queue = defineQueue({ connection: better(db), logger: silent });
    db.exec(pragmas(durability)); // plainjob sets some of its own
    db.exec(
      'CREATE TABLE IF NOT EXISTS bench_messages(id, session_id, claude_session_id, type, prompt_number, enqueued_at_epoch, status, payload)',
    );
    const sql = statements(db);
    const names = new Map();
    let depth = 0;
    return {
      async createSession(name) {
        const id = Number(sql.session.run(name, name, new Date().toISOString(), Date.now()).lastInsertRowid);
        names.set(id, name);
        return id;
      },
      async enqueue(session, message) {
        queue.add(String(session), message);
        depth += 1;
      },
      async enqueueAll(sessions, messages) {
        for (const [index, message] of messages.entries())
          queue.add(String(sessions[index % sessions.length]), message);
        depth += messages.length;
      },
      consumer: (session, most) => ({
        async next() {
          const jobs = [];
          while (jobs.length < most) {
            const taken = queue.getAndMarkJobAsProcessing(String(session));
            if (!taken) break;
            jobs.push(queue.getJobById(taken.id));
          }
          return { ids: jobs.map(({ id }) => id), messages: jobs.map(({ data }) => JSON.parse(data)) };
        },
        async commit(batch, observations) {
          for (const one of observations) {
            const lists = [one.facts, one.narrative, one.concepts, one.files_read, one.files_modified];
            const texts = lists.map((value) => (typeof value === 'string' ? value : JSON.stringify(value)));
            const row = [names.get(session), one.type, one.title, one.subtitle, ...texts, 1];
            sql.observation.run(...row, new Date().toISOString(), Date.now());
          }
          for (const id of batch.ids) queue.markJobAsDone(id);
          depth -= batch.ids.length;
        },
        close: async () => {},
      }),
      depth: () => depth,
      settled: async () => queue.removeDoneJobs(-1_000),
      close: async () => queue.close(),
    };
  },
};
