'use strict';
// What a binary must fit: operating system, processor, C library, and the runtime that loads it. Without a child process.
const { interpreterOf } = require('./elf.cjs');

/** The name of the platform package's target, by platform, processor and C library. */
const TARGETS = new Set([
  'linux-x64-gnu',
  'linux-arm64-gnu',
  'linux-x64-musl',
  'linux-arm64-musl',
  'darwin-x64',
  'darwin-arm64',
  'win32-x64-msvc',
  'win32-arm64-msvc',
]);

/** Node's own word on it; it costs some milliseconds, so it is asked second. */
function libcOfReport() {
  try {
    const { header, sharedObjects = [] } = process.report.getReport();
    if (header.glibcVersionRuntime) return 'glibc';
    return sharedObjects.some((name) => /libc\.musl-|ld-musl-/.test(name)) ? 'musl' : null;
  } catch {
    return null;
  }
}

/** The C library that a program is linked with: by its dynamic linker, else by the runtime's report, else unknown. */
function libcOf(program = process.execPath) {
  const linker = interpreterOf(program);
  if (linker?.includes('/ld-musl-')) return 'musl';
  if (linker?.includes('/ld-linux-')) return 'glibc';
  return libcOfReport();
}

/** The targets whose binaries may fit, best first; none where none is built for this platform. */
function targetsOf({ platform, arch, libc }) {
  const suffixes = {
    linux: libc === null ? ['-gnu', '-musl'] : [libc === 'musl' ? '-musl' : '-gnu'],
    darwin: [''],
    win32: ['-msvc'],
  };
  return (suffixes[platform] ?? []).map((suffix) => `${platform}-${arch}${suffix}`).filter((name) => TARGETS.has(name));
}

/** See index.d.ts. */
function describePlatform() {
  const { platform, arch, versions } = process;
  const libc = platform === 'linux' ? libcOf() : null;
  return {
    platform,
    arch,
    libc,
    runtime: versions.bun ? 'Bun' : 'Node',
    runtimeVersion: versions.bun ?? versions.node,
    modules: versions.modules ?? null,
    napi: versions.napi ?? null,
    targets: targetsOf({ platform, arch, libc }),
  };
}

/** The same for a sentence: `linux x64 (glibc) with Node 20.16.0 (modules 115, Node-API 9)`. */
function platformText({ platform, arch, libc, runtime, runtimeVersion, modules, napi }) {
  const library = platform === 'linux' ? ` (${libc ?? 'unknown C library'})` : '';
  return `${platform} ${arch}${library} with ${runtime} ${runtimeVersion} (modules ${modules}, Node-API ${napi})`;
}

module.exports = { describePlatform, libcOf, platformText, targetsOf };
