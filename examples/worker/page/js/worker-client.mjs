// Talks to the worker: JSON requests, the poll of /health, the event stream.

const POLL_MS = 2_000;

/** Reads JSON; rejects with the worker's own sentence where it refuses. */
export async function readJson(path, { signal, onResponse } = {}) {
  const response = await fetch(path, { signal, headers: { Accept: 'application/json' } });
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(body.error ?? `The worker answered ${response.status}.`);
  onResponse?.(response);
  return body;
}

/** Calls `onHealth` or `onFailure` every two seconds while the page is visible, and at once when it becomes so. */
export function pollHealth(onHealth, onFailure) {
  let timer = null;
  let isReading = false;
  async function read() {
    clearTimeout(timer);
    if (isReading) return;
    isReading = true;
    try {
      onHealth(await readJson('/health', { signal: AbortSignal.timeout(5_000) }));
    } catch (error) {
      onFailure(error);
    } finally {
      isReading = false;
      if (!document.hidden) timer = setTimeout(read, POLL_MS);
    }
  }
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden) read();
  });
  read();
}

/** Listens to the stream; `handlers` has a function an event type. The browser connects again by itself. */
export function listen(handlers, onState) {
  const source = new EventSource('/stream');
  source.onopen = () => onState('live');
  source.onerror = () => {
    onState('lost');
    // A refused connection (the worker restarts and answers 503) is final for an EventSource: start a new one.
    if (source.readyState === EventSource.CLOSED) setTimeout(() => listen(handlers, onState), POLL_MS);
  };
  source.onmessage = ({ data }) => {
    const event = JSON.parse(data);
    handlers[event.type]?.(event);
  };
}

/** Calls `action` at most once in `everyMs`, the last time included. */
export function atMostEvery(everyMs, action) {
  let timer = null;
  let last = 0;
  return () => {
    if (timer !== null) return;
    timer = setTimeout(
      () => {
        timer = null;
        last = Date.now();
        action();
      },
      Math.max(0, last + everyMs - Date.now()),
    );
  };
}
