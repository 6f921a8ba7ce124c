import type { ReadSettingsOptions } from './index';

/** How the worker is run. */
export interface EcosystemOptions extends ReadSettingsOptions {
  /** The path of the worker's file; its directory becomes the working directory. */
  script: string;
  /** What PM2 calls the app. Default `'claude-mem-worker'`. */
  name?: string | undefined;
  /** Arguments of the script. */
  args?: string | string[] | undefined;
  /** Whether PM2 starts the worker again when its files change. Default false. */
  watch?: boolean | undefined;
  /** More environment variables of the worker. */
  env?: Record<string, string> | undefined;
  /** Is told of each setting that was refused. Default `console.error`, so that `pm2 start` shows it. */
  warn?: ((message: string) => void) | undefined;
}

/** The definition of one PM2 app. */
export interface WorkerApp {
  name: string;
  script: string;
  args?: string | string[];
  cwd: string;
  exec_mode: 'fork';
  instances: 1;
  /** The allowed flags of `NODE_OPTIONS`, and `--max-old-space-size=256` where they say no other size. */
  node_args: string[];
  /** `NODE_OPTIONS` is empty here: what is allowed of it is in `node_args`. */
  env: Record<string, string>;
  autorestart: true;
  /** The wait before the first restart, ms; each further one is longer by half, up to PM2's 15 s. */
  exp_backoff_restart_delay: number;
  /** Failed starts after which PM2 gives up. */
  max_restarts: number;
  /** A worker that dies earlier than this has failed to start, ms. */
  min_uptime: number;
  /** Exit codes after which PM2 does not try again: `EXIT_GIVE_UP`. */
  stop_exit_codes: number[];
  /** From the signal to end until SIGKILL, ms. */
  kill_timeout: number;
  /** Resident memory at which PM2 starts the worker again, such as `'1216M'`: grows with what the settings allow. */
  max_memory_restart: string;
  watch: boolean;
  ignore_watch: string[];
}

/**
 * Reads the settings and returns the definition of a PM2 app. A broken settings file, or one with values that are
 * refused, is reported to `warn` and stops nothing. Throws a TypeError where `script` is missing or an option is unknown.
 */
export declare function workerApp(options: EcosystemOptions): WorkerApp;

/** What `ecosystem.config.cjs` exports: `{apps: [workerApp(options)]}`. */
export declare function ecosystem(options: EcosystemOptions): { apps: WorkerApp[] };

/**
 * The exit code with which a worker says that starting it again is of no use, 78: PM2 then leaves it stopped, at once
 * and however long it had run before. For `ERR_NATIVE_BINDING` and the like.
 */
export declare const EXIT_GIVE_UP: 78;
