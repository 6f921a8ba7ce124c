'use strict';
// setup: everything that makes a data directory ready, in order: the model, the vectors that Chroma has, those that are
// owed. Each step that is done already is left alone, so that it can be run again.

const fs = require('node:fs');
const path = require('node:path');
const readline = require('node:readline/promises');
const { chromaDirectory } = require('../chroma-directory.cjs');
const { Fault } = require('../faults.cjs');
const { asOwner, dataDirectory } = require('../opening.cjs');
const { counted, number, paint, print } = require('../output.cjs');
const { waitSeconds } = require('../arguments.cjs');
const { follow } = require('../progress.cjs');
const { takeOver } = require('./import-chroma.cjs');

const MODEL = 'all-MiniLM-L6-v2';
const FILE = 'model.onnx';

const folderOf = (directory) => path.join(directory, 'models', MODEL);

/** Copies the model's file into the data directory, whole or not at all. */
function placeModel(given, directory) {
  const from = path.resolve(given);
  const stat = fs.statSync(from, { throwIfNoEntry: false });
  const file = stat?.isDirectory() ? path.join(from, FILE) : from;
  if (!fs.statSync(file, { throwIfNoEntry: false })?.isFile()) throw new Fault(`there is no ${FILE} at ${from}`);
  const folder = folderOf(directory);
  const place = path.join(folder, FILE);
  if (fs.existsSync(place) && fs.realpathSync(place) === fs.realpathSync(file)) return;
  fs.mkdirSync(folder, { recursive: true });
  const part = `${place}.${process.pid}.part`;
  try {
    fs.copyFileSync(file, part);
    fs.renameSync(part, place);
  } finally {
    fs.rmSync(part, { force: true });
  }
  print(`model: copied to ${place}`);
}

/** Whether the user says yes; without a terminal, what was said on the command line. */
async function agreed(question, options) {
  if (options.yes) return true;
  if (options.chroma === false || !process.stdin.isTTY || !process.stdout.isTTY) return false;
  const asked = readline.createInterface({ input: process.stdin, output: process.stdout });
  try {
    return /^(y|yes|)$/i.test((await asked.question(`${question} [Y/n] `)).trim());
  } finally {
    asked.close();
  }
}

async function setup(options) {
  const directory = dataDirectory(options);
  if (options.model !== undefined) placeModel(options.model, directory);
  await asOwner(
    options,
    'setup',
    async (memory) => {
      print(`data directory: ${directory}`);
      const { model } = await memory.vectors.status();
      const usable = model.availability !== 'missing';
      if (usable) print(`model: ${model.name} is in place`);
      else {
        print(paint('yellow', `model: ${model.reason}`));
        print(`  searches go on by words; put ${FILE} into ${folderOf(directory)}, or say --model with its place`);
      }

      const chroma = options.chroma === false ? null : chromaDirectory(directory);
      if (chroma !== null && usable) {
        if (await agreed(`take over the vectors of ${chroma}?`, options)) await takeOver(memory, chroma, options);
        else print(`Chroma: ${chroma} was left alone; "claude-mem-native import-chroma" takes its vectors over`);
      } else if (chroma !== null) {
        print(`Chroma: ${chroma} is there; its vectors can be taken over once the model is in place`);
      }

      const report = await follow('index', memory.vectors.sync());
      const { documents, embedded, pending } = await memory.vectors.status();
      print(`index: ${counted(documents, 'document')}, ${number(embedded)} with a vector`);
      if (pending > 0 && usable)
        throw new Fault(`${counted(pending, 'document')} have no vector yet: ${report.reason ?? 'run setup again'}`);
    },
    { create: true },
  );
  print(paint('green', 'ready'));
}

function register(program) {
  program
    .command('setup')
    .description('make a data directory ready: model, vectors of Chroma, first indexing (the worker must be stopped)')
    .option('--model <place>', `copy this ${FILE}, or that of this folder, into the data directory`)
    .option('--yes', 'take over the vectors of Chroma without being asked')
    .option('--no-chroma', 'leave Chroma alone')
    .option('--wait <seconds>', 'wait so long for the worker to stop', waitSeconds)
    .action((_options, command) => setup(command.optsWithGlobals()));
}

module.exports = { register };
