import type { OpenOptions } from '../index';

/** Where a value was found. */
export type SettingSource =
  /** `settings.json` of the data directory. */
  | 'file'
  /** `~/.claude/settings.json`, where claude-mem 6.0.2 kept some of its keys. */
  | 'legacy'
  /** An environment variable. */
  | 'environment'
  /** Nowhere. */
  | 'default';

/** What counts, by key; a key without a default is undefined where it is not set. */
export interface SettingValues {
  /** The model of the agent. Default `'claude-haiku-4-5'`. */
  CLAUDE_MEM_MODEL: string;
  /** Observations that a new session is shown (1 to 200). Default 50. */
  CLAUDE_MEM_CONTEXT_OBSERVATIONS: number;
  /** The worker's port on 127.0.0.1 (1024 to 65535). Default 37777. */
  CLAUDE_MEM_WORKER_PORT: number;
  /** The folder of the embedding model; `CLAUDE_MEM_NATIVE_MODEL_DIR` wins over it. */
  CLAUDE_MEM_MODEL_DIR?: string | undefined;
  /**
   * Where the binary is loaded from: the package, or a copy in the data directory, so that an update can replace the
   * original while a worker runs, which Windows forbids otherwise. Default `'package'`.
   */
  CLAUDE_MEM_NATIVE_LOAD_FROM: 'package' | 'data-directory';
  /** The flags for Node that are allowed, as one text; default `''`. The same as a list: `nodeArgs`. */
  NODE_OPTIONS: string;
  /** Option `dataDir` of `openMemory`. */
  CLAUDE_MEM_NATIVE_DATA_DIR?: OpenOptions['dataDir'] | undefined;
  /** Option `role` of `openMemory`. */
  CLAUDE_MEM_NATIVE_ROLE?: OpenOptions['role'] | undefined;
  /** Option `readOnly` of `openMemory`. */
  CLAUDE_MEM_NATIVE_READ_ONLY?: OpenOptions['readOnly'] | undefined;
  /** Option `parts` of `openMemory`. */
  CLAUDE_MEM_NATIVE_PARTS?: OpenOptions['parts'] | undefined;
  /** Option `lockWaitMs` of `openMemory`. */
  CLAUDE_MEM_NATIVE_LOCK_WAIT_MS?: OpenOptions['lockWaitMs'] | undefined;
  /** Option `deadlineMs` of `openMemory`. */
  CLAUDE_MEM_NATIVE_DEADLINE_MS?: OpenOptions['deadlineMs'] | undefined;
  /** Option `durability` of `openMemory`. */
  CLAUDE_MEM_NATIVE_DURABILITY?: OpenOptions['durability'] | undefined;
  /** Option `readers` of `openMemory`. */
  CLAUDE_MEM_NATIVE_READERS?: OpenOptions['readers'] | undefined;
  /** Option `maxInFlightBytes` of `openMemory`. */
  CLAUDE_MEM_NATIVE_MAX_IN_FLIGHT_BYTES?: OpenOptions['maxInFlightBytes'] | undefined;
  /** Option `maxMessageBytes` of `openMemory`. */
  CLAUDE_MEM_NATIVE_MAX_MESSAGE_BYTES?: OpenOptions['maxMessageBytes'] | undefined;
  /** Option `maxSessionMessages` of `openMemory`. */
  CLAUDE_MEM_NATIVE_MAX_SESSION_MESSAGES?: OpenOptions['maxSessionMessages'] | undefined;
  /** Option `maxSessionBytes` of `openMemory`. */
  CLAUDE_MEM_NATIVE_MAX_SESSION_BYTES?: OpenOptions['maxSessionBytes'] | undefined;
  /** Option `maxQueueBytes` of `openMemory`. */
  CLAUDE_MEM_NATIVE_MAX_QUEUE_BYTES?: OpenOptions['maxQueueBytes'] | undefined;
  /** Option `maxAttempts` of `openMemory`. */
  CLAUDE_MEM_NATIVE_MAX_ATTEMPTS?: OpenOptions['maxAttempts'] | undefined;
  /** Option `backoffBaseMs` of `openMemory`. */
  CLAUDE_MEM_NATIVE_BACKOFF_BASE_MS?: OpenOptions['backoffBaseMs'] | undefined;
  /** Option `backoffMaxMs` of `openMemory`. */
  CLAUDE_MEM_NATIVE_BACKOFF_MAX_MS?: OpenOptions['backoffMaxMs'] | undefined;
  /** Option `maxPauseMs` of `openMemory`. */
  CLAUDE_MEM_NATIVE_MAX_PAUSE_MS?: OpenOptions['maxPauseMs'] | undefined;
  /** Option `sessionTtlMs` of `openMemory`. */
  CLAUDE_MEM_NATIVE_SESSION_TTL_MS?: OpenOptions['sessionTtlMs'] | undefined;
  /** Option `maxSessions` of `openMemory`. */
  CLAUDE_MEM_NATIVE_MAX_SESSIONS?: OpenOptions['maxSessions'] | undefined;
  /** Option `maxDeadLetters` of `openMemory`. */
  CLAUDE_MEM_NATIVE_MAX_DEAD_LETTERS?: OpenOptions['maxDeadLetters'] | undefined;
  /** Option `deadLetterAgeMs` of `openMemory`. */
  CLAUDE_MEM_NATIVE_DEAD_LETTER_AGE_MS?: OpenOptions['deadLetterAgeMs'] | undefined;
  /** Option `dedupeAgeMs` of `openMemory`. */
  CLAUDE_MEM_NATIVE_DEDUPE_AGE_MS?: OpenOptions['dedupeAgeMs'] | undefined;
  /** Option `maxDedupeKeys` of `openMemory`. */
  CLAUDE_MEM_NATIVE_MAX_DEDUPE_KEYS?: OpenOptions['maxDedupeKeys'] | undefined;
  /** Option `secureDelete` of `openMemory`. */
  CLAUDE_MEM_NATIVE_SECURE_DELETE?: OpenOptions['secureDelete'] | undefined;
  /** Option `indexing` of `openMemory`. */
  CLAUDE_MEM_NATIVE_INDEXING?: OpenOptions['indexing'] | undefined;
  /** Option `vectorPrecision` of `openMemory`. */
  CLAUDE_MEM_NATIVE_VECTOR_PRECISION?: OpenOptions['vectorPrecision'] | undefined;
  /** Option `vectorExpansion` of `openMemory`. */
  CLAUDE_MEM_NATIVE_VECTOR_EXPANSION?: OpenOptions['vectorExpansion'] | undefined;
  /** Option `vectorMemoryBudget` of `openMemory`. */
  CLAUDE_MEM_NATIVE_VECTOR_MEMORY_BUDGET?: OpenOptions['vectorMemoryBudget'] | undefined;
  /** Option `embedder` of `openMemory`. */
  CLAUDE_MEM_NATIVE_EMBEDDER?: OpenOptions['embedder'] | undefined;
  /** Option `model` of `openMemory`. */
  CLAUDE_MEM_NATIVE_MODEL?: OpenOptions['model'] | undefined;
  /** Option `modelDir` of `openMemory`. */
  CLAUDE_MEM_NATIVE_MODEL_DIR?: OpenOptions['modelDir'] | undefined;
  /** Option `modelIdleMs` of `openMemory`. */
  CLAUDE_MEM_NATIVE_MODEL_IDLE_MS?: OpenOptions['modelIdleMs'] | undefined;
  /** Option `modelThreads` of `openMemory`. */
  CLAUDE_MEM_NATIVE_MODEL_THREADS?: OpenOptions['modelThreads'] | undefined;
  /** Option `queryCacheBytes` of `openMemory`. */
  CLAUDE_MEM_NATIVE_QUERY_CACHE_BYTES?: OpenOptions['queryCacheBytes'] | undefined;
  /** Option `clientModel` of `openMemory`. */
  CLAUDE_MEM_NATIVE_CLIENT_MODEL?: OpenOptions['clientModel'] | undefined;
}

/** The name of a setting. */
export type SettingKey = keyof SettingValues;

/** A value that does not count, and why. */
export interface RejectedSetting {
  /** Where it stands. */
  source: Exclude<SettingSource, 'default'>;
  /** Its key; null where the whole file is meant. */
  key: string | null;
  /** What stands there; of `NODE_OPTIONS` the flag alone. */
  value: unknown;
  /** One sentence that names the key, the value and what is allowed. */
  message: string;
}

/** Where settings are looked for. */
export interface ReadSettingsOptions {
  /** The directory of `settings.json`. Default: `CLAUDE_MEM_DATA_DIR` in `environment`, else `.claude-mem` in `home`. */
  dataDir?: string | undefined;
  /** The user's home directory. Default: `os.homedir()`. */
  home?: string | undefined;
  /** The environment variables. Default: `process.env`. */
  environment?: Readonly<Record<string, string | undefined>> | undefined;
}

/** The settings of a data directory. */
export interface Settings {
  /** The path of `settings.json`, whether it exists or not. */
  file: string;
  /** Where the data lie: the directory of `file`, unless `CLAUDE_MEM_NATIVE_DATA_DIR` says another one. */
  dataDir: string;
  /** What counts. */
  values: SettingValues;
  /** Where each value was found. */
  sources: Record<SettingKey, SettingSource>;
  /** For `openMemory`: `dataDir`, and of the other options those that are set. */
  openOptions: OpenOptions & { dataDir: string };
  /** For Node's command line: the flags of `NODE_OPTIONS` that are allowed. */
  nodeArgs: string[];
  /** What was found and does not count. Empty where all is well. */
  rejected: RejectedSetting[];
}

/**
 * Reads `settings.json` (`{"env": {"CLAUDE_MEM_WORKER_PORT": "37777", …}}`) and checks every known key. A value in the
 * file wins over `~/.claude/settings.json`, that over the environment variable of the same name, that over the default;
 * a value that is refused is listed in `rejected` and the next one counts. A file that is missing, broken or cannot be
 * read throws nothing: it is one entry of `rejected` (none where it is missing). Numbers and booleans can be written as
 * such or as text, bytes with KiB, MiB, GiB or TiB; lists with commas; objects as such or as JSON text.
 *
 * Reads two small files synchronously, so call it when the program starts. Needs no binary.
 */
export declare function readSettings(from?: ReadSettingsOptions): Settings;

/** `NODE_OPTIONS`, taken apart. */
export interface ParsedNodeOptions {
  /** The flags that are allowed, each with its value after a `=`; `--inspect` with the address 127.0.0.1. */
  args: string[];
  /** Those that are not, and why. */
  refused: { flag: string; message: string }[];
}

/** Takes the text of `NODE_OPTIONS` apart as Node does, and checks each flag against the allow-list. Never throws. */
export declare function parseNodeOptions(nodeOptions: string): ParsedNodeOptions;

/** Every key that counts in the file. */
export declare const KNOWN_KEYS: readonly SettingKey[];
