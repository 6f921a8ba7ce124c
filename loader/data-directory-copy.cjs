'use strict';
// A copy of the binary in the data directory, which is loaded in its place: while it is loaded Windows lets nobody
// replace a file, and an update of the package must be able to.
const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

/** Copies of other binaries are kept this long after their last use: a process may be about to load one. */
const KEPT_MS = 24 * 60 * 60 * 1000;

const sha256 = (bytes) => crypto.createHash('sha256').update(bytes).digest('hex');
const folderOf = (dataDir) => path.join(dataDir, 'native', 'bin');

/** Whether a file has these bytes, by length and hash. */
function holds(file, { length, hash }) {
  const stat = fs.statSync(file, { throwIfNoEntry: false });
  return stat?.isFile() === true && stat.size === length && sha256(fs.readFileSync(file)) === hash;
}

/** Writes `bytes` under a name of its own, and renames that once it is whole and has been read again. */
function write(file, bytes, wanted) {
  const part = `${file}.${process.pid}-${crypto.randomBytes(4).toString('hex')}.part`;
  try {
    const handle = fs.openSync(part, 'wx', 0o600);
    try {
      fs.writeFileSync(handle, bytes);
      fs.fsyncSync(handle);
    } finally {
      fs.closeSync(handle);
    }
    if (!holds(part, wanted)) throw new Error('what was written reads back differently');
    try {
      fs.renameSync(part, file);
    } catch (error) {
      // Race: another process has put the same bytes there and loads them already, so that Windows refuses to replace
      // them. Elsewhere the rename replaces equal bytes, and whoever has the old file loaded keeps it.
      if (!holds(file, wanted)) throw error;
    }
  } finally {
    fs.rmSync(part, { force: true });
  }
}

/** Removes what nobody has used for a day: copies of other binaries, and parts that a killed process has left. */
function removeOld(folder, own) {
  const old = Date.now() - KEPT_MS;
  const within = (place) => fs.readdirSync(place).map((name) => path.join(place, name));
  const parts = within(own).filter((file) => file.endsWith('.part'));
  for (const place of [...within(folder).filter((each) => each !== own), ...parts]) {
    try {
      if (fs.statSync(place).mtimeMs < old) fs.rmSync(place, { recursive: true, force: true });
    } catch {
      // EBUSY and EPERM: it is loaded somewhere, and goes another time. ENOENT: another process was quicker.
    }
  }
}

/**
 * The path of a copy of `origin` in a data directory, with the same bytes; made where it is missing or damaged. Throws
 * where that cannot be done, for example since nothing may be written there.
 */
function copyInto(dataDir, origin, version) {
  const bytes = fs.readFileSync(origin);
  const wanted = { length: bytes.length, hash: sha256(bytes) };
  const folder = folderOf(dataDir);
  const own = path.join(folder, `${version}-${wanted.hash.slice(0, 16)}`);
  const file = path.join(own, path.basename(origin));
  if (!holds(file, wanted)) {
    fs.mkdirSync(own, { recursive: true, mode: 0o700 });
    write(file, bytes, wanted);
  }
  try {
    const now = new Date();
    fs.utimesSync(own, now, now);
    removeOld(folder, own);
  } catch {
    // Tidying up is no reason not to load.
  }
  return file;
}

module.exports = { copyInto };
