// Compiled, never run: what a TypeScript user may write against index.d.ts, and what the compiler must refuse.

import native, {
  openMemory,
  restore,
  Batch,
  BackupManifest,
  Job,
  Consumer,
  Memory,
  Pages,
  Queue,
  Sessions,
  Store,
  SyncProgress,
  SyncReport,
  Vectors,
  version,
  type NativeBindingError as BindingError,
} from 'claude-mem-native';
import { ecosystem, workerApp, EXIT_GIVE_UP, type WorkerApp } from 'claude-mem-native/ecosystem';
import {
  describePlatform,
  findNative,
  loadNative,
  NativeBindingError,
  type BinaryAttempt,
  type LoadOptions,
} from 'claude-mem-native/loader';
import { readSettings, parseNodeOptions, KNOWN_KEYS, type Settings } from 'claude-mem-native/settings';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function holds<_Claim extends true>(): void {}

export async function opening(): Promise<void> {
  await using memory = await openMemory();
  holds<Equal<typeof memory, Memory>>();
  const other: Memory = await native.openMemory({ dataDir: 'somewhere', durability: 'full', maxSessionMessages: 10 });
  await other.dispose();
  await other[Symbol.asyncDispose]();

  const client = await openMemory({ role: 'client', readOnly: true });
  holds<Equal<typeof client.role, 'owner' | 'client'>>();
  const depth: number = await client.queue.poke(1);
  holds<Equal<Awaited<ReturnType<Memory['health']>>['role'], 'owner' | 'client'>>();
  void depth;

  // @ts-expect-error: not one of 'owner' and 'client'
  await openMemory({ role: 'guest' });
  await (await openMemory({ parts: ['queue'] })).dispose();

  // @ts-expect-error: misspelled
  await openMemory({ dataDirectory: 'somewhere' });
  // @ts-expect-error: there is no such part
  await openMemory({ parts: ['tables'] });
  // @ts-expect-error: not one of 'normal' and 'full'
  await openMemory({ durability: 'none' });
  // @ts-expect-error: a number of milliseconds
  await openMemory({ lockWaitMs: '10 s' });
  // @ts-expect-error: a handle is made by openMemory only
  memory.dataDir = 'elsewhere';
}

export function parts(memory: Memory): [Store, Pages, Queue, Sessions] {
  return [memory.store, memory.pages, memory.queue, memory.sessions];
}

export async function store(memory: Memory): Promise<void> {
  const id: number = await memory.store.createSDKSession('claude-1', 'project', 'prompt');
  const stored = await memory.store.storeObservation('claude-1', 'project', {
    type: 'bugfix',
    title: 'A title',
    subtitle: null,
    facts: ['one'],
    narrative: null,
    concepts: [],
    files_read: [],
    files_modified: [],
  });
  const epoch: number = stored.createdAtEpoch;
  const row = await memory.store.getObservationById(stored.id);
  if (row) {
    const rowId: number = row.id;
    const title: string | null = row.title;
    const when: number = row.created_at_epoch;
    void [rowId, title, when];
    // @ts-expect-error: no such column
    void row.heading;
  }
  // @ts-expect-error: there may be no such row
  void row.id;
  const session = await memory.store.getSessionById(id);
  const project: string | undefined = session?.project;
  const prompts = await memory.store.getAllRecentUserPrompts(5);
  const texts: string[] = prompts.map((prompt) => prompt.prompt_text);
  void [epoch, project, texts];

  // @ts-expect-error: the row id is a number
  await memory.store.getObservationById('7');
  // @ts-expect-error: an order that does not exist
  await memory.store.getObservationsByIds([1], { orderBy: 'newest' });
}

export async function pages(memory: Memory): Promise<void> {
  const page = await memory.pages.getObservations(0, 20, 'project');
  const more: boolean = page.hasMore;
  const ids: number[] = page.items.map((item) => item.id);
  void [more, ids];
  // @ts-expect-error: both numbers are needed
  await memory.pages.getObservations();
}

export async function queue(memory: Memory): Promise<void> {
  const { id, depth, duplicate } = await memory.queue.enqueue(1, { type: 'summarize' }, { dedupeKey: 'key' });
  holds<Equal<typeof duplicate, false | 'waiting' | 'done' | 'dead'>>();
  await memory.queue.enqueueRaw(1, Buffer.from('{"type":"summarize"}'), { endsBatch: true, claudeSessionId: 'c' });
  const raw = memory.queue.raw(1);
  raw.append(Buffer.from('{}'));
  await raw.enqueue({ type: 'observation', fields: { tool_name: 'text', tool_input: 'jsonText' } });
  const waiting: number = memory.queue.depth() + memory.queue.depth(1);
  const busy: boolean = memory.queue.isBusy();
  void [id, depth, waiting, busy];

  // @ts-expect-error: the message is an object
  await memory.queue.enqueue(1, 'text');
  // @ts-expect-error: JSON text crosses as a Buffer
  await memory.queue.enqueueRaw(1, '{}');
}

export async function consuming(memory: Memory): Promise<void> {
  const consumer: Consumer = memory.queue.consume(1, { maxBatch: 8, idleTimeoutMs: 1_000, keepAlive: true });
  for await (const batch of consumer) {
    holds<Equal<typeof batch, Batch>>();
    const firstId: number | undefined = batch.messages[0]?.id;
    const attempts: number | undefined = batch.messages[0]?.attempts;
    const prompt: number | null = batch.promptNumber;
    const answer = await batch.commit({
      observations: [{ type: 'change', title: 'A title', facts: [], concepts: [], files_read: [], files_modified: [] }],
      summary: { request: 'what was asked' },
      completeSession: true,
    });
    const rows: { id: number; createdAtEpoch: number }[] = answer.observations;
    const summaryId: number | undefined = answer.summary?.id;
    const left: number = answer.depth;
    await batch.commit();
    await batch.commit({ external: true });
    await batch.release({ error: 'quota', delayMs: 1_000, countAttempt: false });
    batch.extend(60_000);
    void [firstId, attempts, prompt, rows, summaryId, left];

    // @ts-expect-error: misspelled
    await batch.commit({ observation: [] });
  }
  const reason = consumer.endReason;
  holds<Equal<typeof reason, 'summary' | 'idle' | 'expired' | 'deleted' | 'paused' | 'disposed' | null>>();
  consumer.dispose();

  for await (const { sessionDbId, depth, attempts } of memory.queue.ready({ limit: 10 })) {
    const numbers: number[] = [sessionDbId, depth, attempts];
    void numbers;
  }
  // @ts-expect-error: a number
  memory.queue.consume('1');
}

export async function sessions(memory: Memory): Promise<void> {
  const { claudeSessionId, project } = await memory.sessions.initialize(1, {
    promptNumber: 2,
    claudeSessionId: 'claude-1',
    project: 'project',
  });
  const names: string[] = [claudeSessionId, project];
  const { purged } = await memory.sessions.delete(1, { mode: 'drain', purge: false });
  const count: number = memory.sessions.count() + purged;
  void [names, count];
  // @ts-expect-error: not one of 'drain' and 'abort'
  await memory.sessions.delete(1, { mode: 'kill' });
}

export async function vectors(memory: Memory): Promise<void> {
  const all: Vectors = memory.vectors;
  const job: Job<SyncProgress, SyncReport> = all.sync();
  for await (const { done, total, etaMs } of job) {
    const left: number | null = total > done ? etaMs : 0;
    void left;
  }
  const { embedded, reason } = await all.rebuild();
  holds<Equal<typeof reason, string | null>>();
  const near = await all.search({
    vector: Float32Array.of(1, 2),
    k: 5,
    kinds: ['observation'],
    filter: { project: 'p', type: ['bugfix'], dateRange: { start: 1 } },
  });
  const named: Array<[string, number]> = near.map(({ documentId, distance }) => [documentId, distance]);
  holds<Equal<(typeof near)[number]['kind'], 'observation' | 'summary' | 'prompt'>>();
  const vector: Float32Array | null = await all.get('obs_1_text');
  const pending = await all.pending({ limit: 10 });
  const { stored } = await all.put(
    pending.map(({ documentId, revision }) => ({ documentId, revision, vector: Float32Array.of(1) })),
  );
  const removed: number = await all.remove(['obs_1_text']);
  const { state } = await all.status();
  holds<Equal<typeof state, 'unopened' | 'current' | 'embedding' | 'waiting' | 'failing'>>();
  void [embedded, named, vector, stored, removed];
  // @ts-expect-error: an array of kinds
  await all.search({ text: 'a', kinds: 'prompt' });
  // @ts-expect-error: not one of 'auto' and 'manual'
  await openMemory({ indexing: 'never' });
}

export async function health(memory: Memory): Promise<void> {
  const report = await memory.health();
  holds<Equal<typeof report.status, 'ok' | 'warn' | 'critical'>>();
  // What is not open is null.
  const depth: number | undefined = report.queue?.depth;
  const bytes: number | undefined = report.database?.bytes;
  const active: number | undefined = report.sessions?.active;
  const used: number | undefined = report.heap?.usedBytes;
  void [depth, bytes, active, used];
}

export async function files(memory: Memory): Promise<void> {
  await using job = memory.backup('somewhere');
  holds<Equal<typeof job.result, Promise<BackupManifest>>>();
  for await (const { file, done, total } of job) void [file === 'queue.db', done / total];
  const manifest: BackupManifest = await memory.backup('elsewhere');
  const rows: number | undefined = manifest.files[0]?.rows['messages'];
  const any: Job<unknown, unknown> = restore('somewhere', 'data', { overwrite: true, files: ['queue.db'] });
  await any.dispose();
  // @ts-expect-error: no such file
  restore('somewhere', 'data', { files: ['other.db'] });
  const { ok, findings } = await memory.checkIntegrity();
  const { actions, blockedMs } = await memory.repair();
  const { files, freedBytes } = await memory.compact({ deadlineMs: 1_000 });
  holds<Equal<typeof freedBytes, number>>();
  void [files[0]?.name === 'index.db', files[0]?.heldBack === true];
  void [rows, ok, findings[0]?.kind === 'damaged', actions, blockedMs];
}

export async function portable(memory: Memory): Promise<void> {
  const job = memory.exportTo('file.jsonl', { project: 'p' });
  for await (const { done, total } of job) holds<Equal<typeof done | typeof total, number>>();
  const { path, deadLetters } = await job;
  holds<Equal<[typeof path, typeof deadLetters], [string, number]>>();
  const { observations, messages, ignoredColumns } = await memory.importFrom('file.jsonl', { maxLineBytes: 4096 });
  const counts: number[] = [observations.imported, observations.existing, messages.duplicate, messages.skipped];
  void [counts, ignoredColumns.length];
  // @ts-expect-error: a path
  memory.importFrom(5);
}

export async function deleting(memory: Memory): Promise<void> {
  for (const { kind, ids, title } of await memory.findDuplicates({ project: 'p', limit: 10 })) {
    holds<Equal<typeof kind, 'observation' | 'summary'>>();
    holds<Equal<typeof title, string | null>>();
    const { deleted, unknown } = await memory.deleteObservations(ids, { deadlineMs: 1000 });
    const { deleted: summaries } = await memory.deleteSummaries(ids);
    void [deleted + unknown + summaries];
  }
  const { sessionsKept } = await memory.deleteProject('p');
  for (const olderThan of [0, '2026-01-01', new Date()]) {
    const { olderThanEpoch } = await memory.retention({ olderThan });
    void [sessionsKept + olderThanEpoch];
  }
  // @ts-expect-error: a time is required
  await memory.retention({ project: 'p' });
}

export async function settings(): Promise<void> {
  const read = readSettings({ environment: process.env });
  holds<Equal<typeof read, Settings>>();
  holds<Equal<typeof read.values.CLAUDE_MEM_WORKER_PORT, number>>();
  holds<Equal<typeof read.values.CLAUDE_MEM_NATIVE_DURABILITY, 'normal' | 'full' | undefined>>();
  await using memory = await openMemory(read.openOptions);
  for (const { source, key, message } of read.rejected) console.error(source, key, message, memory.role);
  const { args, refused } = parseNodeOptions('--trace-warnings');
  console.log(args.length, refused[0]?.flag, KNOWN_KEYS[0]);
  const app: WorkerApp = workerApp({
    script: 'worker.cjs',
    dataDir: 'somewhere',
    warn: (message) => console.warn(message),
  });
  holds<Equal<ReturnType<typeof ecosystem>, { apps: WorkerApp[] }>>();
  process.exitCode = EXIT_GIVE_UP;
  console.log(app.max_restarts);
  // @ts-expect-error the script is required
  workerApp({});
  // @ts-expect-error no such setting
  console.log(read.values.CLAUDE_MEM_NATIVE_NO_SUCH);
}

export async function loading(): Promise<void> {
  holds<Equal<typeof version, string>>();
  const { libc, targets } = describePlatform();
  holds<Equal<typeof libc, 'glibc' | 'musl' | null>>();
  const options: LoadOptions = { copyTo: 'somewhere' };
  const { native, path, tried, error } = findNative(options);
  holds<Equal<typeof tried, BinaryAttempt[]>>();
  holds<Equal<typeof error, BindingError | null>>();
  await using memory: Memory = await loadNative({ binary: 'x.node' }).openMemory();
  await using other: Memory | null = (await native?.openMemory({ parts: ['queue'] })) ?? null;
  try {
    new native!.Store();
  } catch (reason) {
    if (reason instanceof NativeBindingError) holds<Equal<typeof reason.code, 'ERR_NATIVE_BINDING'>>();
  }
  console.log(targets[0], path, memory.role, other?.role, tried[0]?.reason, error?.remedy);
  // @ts-expect-error: misspelled
  loadNative({ copyto: 'somewhere' });
  // @ts-expect-error: made by the loader only
  new NativeBindingError();
}
