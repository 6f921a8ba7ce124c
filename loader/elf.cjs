'use strict';
// What the headers of an ELF file (Linux) say: which dynamic linker a program wants, and how long the file must be.
const fs = require('node:fs');

const INTERPRETER = 3;
const PROGRAM_HEADER = { type: 0, offset: 8, length: 32, size: 56 };

/**
 * The headers of a 64-bit, little-endian ELF file: `{segments: [{type, offset, length}], end, size, read}`, where `end`
 * is the length that the file must have and `size` the one that it has; null for any other file, and one that cannot be read.
 */
function withHeaders(file, use) {
  let handle;
  try {
    handle = fs.openSync(file, 'r');
    const read = (bytes, at) => {
      const buffer = Buffer.alloc(bytes);
      return buffer.subarray(0, fs.readSync(handle, buffer, 0, bytes, at));
    };
    const head = read(64, 0);
    const isElf = head.length === 64 && head.toString('latin1', 0, 4) === '\x7fELF';
    if (!isElf || head[4] !== 2 || head[5] !== 1) return null;
    const long = (buffer, at) => Number(buffer.readBigUInt64LE(at));
    const [tableAt, sectionsAt] = [long(head, 32), long(head, 40)];
    const [entrySize, entries, sectionSize, sections] = [54, 56, 58, 60].map((at) => head.readUInt16LE(at));
    const table = read(entrySize * entries, tableAt);
    const segments = [];
    for (let at = 0; entrySize >= PROGRAM_HEADER.size && at + entrySize <= table.length; at += entrySize) {
      segments.push({
        type: table.readUInt32LE(at + PROGRAM_HEADER.type),
        offset: long(table, at + PROGRAM_HEADER.offset),
        length: long(table, at + PROGRAM_HEADER.length),
      });
    }
    const ends = segments.map(({ offset, length }) => offset + length);
    const end = Math.max(tableAt + entrySize * entries, sectionsAt + sectionSize * sections, ...ends);
    return use({ segments, end, size: fs.fstatSync(handle).size, read });
  } catch {
    return null;
  } finally {
    if (handle !== undefined) fs.closeSync(handle);
  }
}

/** The path of the dynamic linker that a program names; null where it names none, or is no such file. */
function interpreterOf(file) {
  return withHeaders(file, ({ segments, read }) => {
    const named = segments.find(({ type }) => type === INTERPRETER);
    return named
      ? read(Math.min(named.length, 4_096), named.offset)
          .toString('latin1')
          .replace(/\0[^]*$/, '')
      : null;
  });
}

/**
 * How many bytes are missing at a file's end, by its own headers; 0 where none are, and for what is no such file. To load
 * a library that was cut off ends the process: the dynamic linker touches pages that are not there.
 */
function missingBytes(file) {
  return withHeaders(file, ({ end, size }) => Math.max(0, end - size)) ?? 0;
}

module.exports = { interpreterOf, missingBytes };
