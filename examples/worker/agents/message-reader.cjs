'use strict';
// How an agent reads messages. Large texts lie in native memory and are read when they are asked for: an agent that
// looks at the beginning gets the beginning, and one that passes a message on gets its bytes; neither brings 50 MB to
// the JavaScript heap.

/** The messages of a batch for an agent, with the two ways to read them. */
class MessageReader {
  constructor(batch, isWanted) {
    this.batch = batch;
    this.places = new Map();
    this.messages = [];
    for (const [index, message] of batch.messages.entries()) {
      if (!isWanted(message)) continue;
      // A copy of the object, in case the agent changes it; its large texts stay accessors.
      const copy = Object.defineProperties({}, Object.getOwnPropertyDescriptors(message));
      this.places.set(copy, { index, message });
      this.messages.push(copy);
    }
    this.readText = this.readText.bind(this);
    this.readRaw = this.readRaw.bind(this);
  }

  /** The first `limit` characters of a text field; anything that is no text comes back as it is. */
  readText(message, field, limit) {
    const place = this.places.get(message);
    const isLarge = place && Object.getOwnPropertyDescriptor(place.message, field)?.get !== undefined;
    return isLarge ? this.batch.readText(place.index, field, 0, limit) : beginning(message, field, limit);
  }

  /** A message as JSON text in UTF-8. */
  readRaw(message) {
    const place = this.places.get(message);
    return place ? this.batch.readRaw(place.index) : Buffer.from(JSON.stringify(message));
  }
}

/** As `readText`, for a message that is a plain object. */
function beginning(message, field, limit) {
  const value = message[field];
  return typeof value === 'string' && value.length > limit ? value.slice(0, limit) : value;
}

module.exports = { MessageReader, beginning };
