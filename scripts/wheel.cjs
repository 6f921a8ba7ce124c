'use strict';
// Reads one file out of a Python wheel, which is a zip archive. Built-ins only.

const zlib = require('node:zlib');

const END_OF_DIRECTORY = 0x06054b50;
const DIRECTORY_ENTRY = 0x02014b50;
const LOCAL_HEADER = 0x04034b50;
const STORED = 0;
const DEFLATED = 8;

/** The entries of an archive: {name, method, compressed, size, offset}. */
function entries(archive) {
  // The end record is followed by a comment of up to 64 KiB.
  let end = archive.length - 22;
  while (end >= 0 && archive.readUInt32LE(end) !== END_OF_DIRECTORY) end -= 1;
  if (end < 0) throw new Error('it is no zip archive, or its end is missing');
  const found = [];
  let at = archive.readUInt32LE(end + 16);
  for (let count = archive.readUInt16LE(end + 10); count > 0; count -= 1) {
    if (at + 46 > end || archive.readUInt32LE(at) !== DIRECTORY_ENTRY) throw new Error('its directory is damaged');
    const nameLength = archive.readUInt16LE(at + 28);
    found.push({
      name: archive.toString('utf8', at + 46, at + 46 + nameLength),
      method: archive.readUInt16LE(at + 10),
      compressed: archive.readUInt32LE(at + 20),
      size: archive.readUInt32LE(at + 24),
      offset: archive.readUInt32LE(at + 42),
    });
    at += 46 + nameLength + archive.readUInt16LE(at + 30) + archive.readUInt16LE(at + 32);
  }
  return found;
}

/**
 * The bytes of the one file called `name`, in whatever folder of the archive. `limit` bounds them, so that a small
 * archive cannot fill the memory.
 */
function fileOf(archive, name, limit) {
  const named = entries(archive).filter((entry) => entry.name === name || entry.name.endsWith(`/${name}`));
  if (named.length !== 1) throw new Error(`it has ${named.length} files called ${name}, not one`);
  const [{ method, compressed, size, offset }] = named;
  if (size > limit) throw new Error(`its ${name} has ${size} bytes, more than ${limit}`);
  if (offset + 30 > archive.length || archive.readUInt32LE(offset) !== LOCAL_HEADER)
    throw new Error(`the header of its ${name} is damaged`);
  const start = offset + 30 + archive.readUInt16LE(offset + 26) + archive.readUInt16LE(offset + 28);
  const packed = archive.subarray(start, start + compressed);
  if (packed.length < compressed) throw new Error(`its ${name} is cut off`);
  if (method === STORED) return packed;
  if (method === DEFLATED) return zlib.inflateRawSync(packed, { maxOutputLength: limit });
  throw new Error(`its ${name} is packed by method ${method}, which is not known here`);
}

module.exports = { fileOf };
