/** What a binary must fit. */
export interface PlatformDescription {
  /** `process.platform`. */
  platform: string;
  /** `process.arch`. */
  arch: string;
  /** The C library of this program on Linux; null elsewhere, and where it cannot be told. */
  libc: 'glibc' | 'musl' | null;
  /** What runs this. */
  runtime: 'Node' | 'Bun';
  /** Its version. */
  runtimeVersion: string;
  /** `process.versions.modules`. The binary does not depend on it. */
  modules: string | null;
  /** The version of Node-API; the binary needs 9. */
  napi: string | null;
  /** The targets whose binaries may fit, such as `['linux-x64-gnu']`; none where none is built for this platform. */
  targets: string[];
}

/** Where a binary was looked for. */
export type BinarySource =
  /** The path that was named by option `binary`, or by `CLAUDE_MEM_NATIVE_BINARY`. */
  | 'explicit'
  /** A copy in a data directory. */
  | 'copy'
  /** In the package's own folder: built there, or put there. */
  | 'beside'
  /** The platform package, as Node resolves it. */
  | 'package'
  /** The platform package in the folder beside this package's. */
  | 'sibling';

/** A place that was not taken. */
export interface BinaryAttempt {
  /** The file or folder, or `'package <name>'` for a package that is not installed. */
  path: string;
  source: BinarySource;
  /** Why not, in one line. */
  reason: string;
}

/**
 * There is no binary that can be loaded here. `openMemory` rejects with it, everything else throws it. The message has a
 * line for each place that was tried; its first line names the platform and, where there is one, the command that helps.
 */
export declare class NativeBindingError extends Error {
  readonly code: 'ERR_NATIVE_BINDING';
  /** The version of this package; the binary must have the same. */
  readonly version: string;
  readonly platform: PlatformDescription;
  /** Every place that was tried, in order. */
  readonly tried: BinaryAttempt[];
  /** What helps. */
  readonly remedy: string;
  private constructor();
}

/**
 * Which binary is meant. Two different binaries may be loaded in one process, but must not open the same data directory:
 * each has a SQLite of its own, and on POSIX systems one would drop the file locks of the other.
 */
export interface LoadOptions {
  /** The path of a binary, instead of the usual places; nothing else is tried. */
  binary?: string | undefined;
  /**
   * A data directory from which a copy of the binary is loaded, in `native/bin/`, so that an update can replace the
   * original while this process runs, which Windows forbids otherwise. The copy is compared with the original by length
   * and SHA-256 each time. Where it cannot be made, the original is loaded, and `tried` says why.
   */
  copyTo?: string | undefined;
}

/** What is exported by `claude-mem-native`. */
export type Native = typeof import('../index');

/** What was found. */
export interface FoundNative {
  /** The exports of the module; null where there is no binary. */
  native: Native | null;
  /** The file that was loaded; null where there is none. */
  path: string | null;
  source: BinarySource | null;
  /** The original, where `path` is a copy. */
  copyOf: string | null;
  /** What was tried before it, in order. */
  tried: BinaryAttempt[];
  /** Why there is none; null where there is one. */
  error: NativeBindingError | null;
}

/** What a binary must fit here. */
export declare function describePlatform(): PlatformDescription;

/**
 * Loads the binary, and tells where it was found and what was tried. Without options it is that of
 * `require('claude-mem-native')`, which is loaded once. Never throws for a binary; a TypeError for an option that is
 * unknown or no path. Synchronous.
 */
export declare function findNative(options?: LoadOptions): FoundNative;

/** As `findNative`, and returns the exports of the module alone. Throws a `NativeBindingError` where there is none. */
export declare function loadNative(options?: LoadOptions): Native;
