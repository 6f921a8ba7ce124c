'use strict';
// The options of `openMemory` as settings: `lockWaitMs` is CLAUDE_MEM_NATIVE_LOCK_WAIT_MS. The ranges are the
// engine's; a test asks it for them.
const { wholeNumber, oneOf, someOf, yesOrNo, modelName, folder, members } = require('./value-kinds.cjs');

const PREFIX = 'CLAUDE_MEM_NATIVE_';
const DAY_MS = 86_400_000;
const YEAR_MS = 370 * DAY_MS;

/** The kind of each option, in the order of its documentation. */
const OPEN_OPTIONS = {
  dataDir: folder,
  role: oneOf('owner', 'client'),
  readOnly: yesOrNo,
  parts: someOf('store', 'queue', 'vectors'),
  lockWaitMs: wholeNumber(0, 600_000, 'ms'),
  deadlineMs: wholeNumber(1, 600_000, 'ms'),
  durability: oneOf('normal', 'full'),
  readers: wholeNumber(1, 16),
  maxInFlightBytes: wholeNumber(65_536, 2 ** 32, 'bytes'),
  maxMessageBytes: wholeNumber(1_024, 500_000_000, 'bytes'),
  maxSessionMessages: wholeNumber(1, 1_000_000_000),
  maxSessionBytes: wholeNumber(1_024, 1e15, 'bytes'),
  maxQueueBytes: wholeNumber(1_024, 1e15, 'bytes'),
  maxAttempts: wholeNumber(1, 100),
  backoffBaseMs: wholeNumber(1, DAY_MS, 'ms'),
  backoffMaxMs: wholeNumber(1, DAY_MS, 'ms'),
  maxPauseMs: wholeNumber(1, YEAR_MS, 'ms'),
  sessionTtlMs: wholeNumber(1, YEAR_MS, 'ms'),
  maxSessions: wholeNumber(1, 100_000),
  maxDeadLetters: wholeNumber(0, 1_000_000),
  deadLetterAgeMs: wholeNumber(1, 10 * YEAR_MS, 'ms'),
  dedupeAgeMs: wholeNumber(1, YEAR_MS, 'ms'),
  maxDedupeKeys: wholeNumber(0, 10_000_000),
  secureDelete: yesOrNo,
  indexing: oneOf('auto', 'manual'),
  vectorPrecision: oneOf('i16', 'i8', 'bf16'),
  vectorExpansion: members({ add: wholeNumber(4, 4_096, 'candidates'), search: wholeNumber(1, 4_096, 'candidates') }),
  vectorMemoryBudget: wholeNumber(2 ** 20, 2 ** 40, 'bytes'),
  embedder: oneOf('local', 'external'),
  model: members({ name: modelName, dimensions: wholeNumber(1, 4_096), maxTokens: wholeNumber(3, 8_192) }),
  modelDir: folder,
  modelIdleMs: wholeNumber(0, YEAR_MS, 'ms'),
  modelThreads: wholeNumber(1, 64),
  queryCacheBytes: wholeNumber(0, 2 ** 30, 'bytes'),
  clientModel: yesOrNo,
};

/** The key of an option of `openMemory` among the settings. */
function settingOf(option) {
  return PREFIX + option.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
}

module.exports = { OPEN_OPTIONS, PREFIX, settingOf };
