// The head of the page: states and tiles.
import { byId, setFigure, setText } from './elements.mjs';
import { ago, count, duration, durationParts, percent, plural, size, sizeParts } from './format.mjs';

const STATE_WORDS = { ok: 'Healthy', warn: 'Warning', critical: 'Critical' };

function setState(id, state, words) {
  byId(id).dataset.state = state;
  setText(byId(id), words);
}

/** Shows one answer of /health. */
export function showHealth(health) {
  const { heap, queue, sessions, eventLoopDelayMs: loop, agents } = health;
  const reasons = health.reasons?.length ? `: ${health.reasons.join('; ')}` : '';
  setState('health-state', health.status, `${STATE_WORDS[health.status] ?? health.status}${reasons}`);
  setText(byId('version'), `v${health.version} · up ${duration(health.uptimeMs)}`);
  byId('notice').hidden = !agents?.lastError;
  if (agents?.lastError)
    setText(byId('notice'), `The agent failed ${ago(agents.lastError.atEpoch)}: ${agents.lastError.message}`);

  setFigure(byId('heap-used'), sizeParts(heap?.usedBytes));
  const meter = byId('heap-meter');
  const share = heap?.usedOfLimit ?? 0;
  meter.dataset.state = share >= 0.9 ? 'critical' : share >= 0.8 ? 'warn' : 'ok';
  meter.setAttribute('aria-valuenow', (share * 100).toFixed(1));
  meter.firstElementChild.style.transform = `scaleX(${Math.min(1, share)})`;
  setText(
    byId('heap-note'),
    heap ? `${percent(share)} of the ${size(heap.limitBytes)} limit` : 'This runtime has no heap limit',
  );

  showQueue({ queueDepth: queue.depth, activeSessions: sessions.active });
  setText(
    byId('depth-note'),
    queue.depth === 0 ? 'Nothing waits' : `${size(queue.bytes)}, the oldest for ${duration(queue.oldestAgeMs)}`,
  );
  setText(byId('session-note'), `${agents?.running ?? 0} of ${agents?.maxConcurrent ?? 0} agents at work`);
  setFigure(byId('loop-p99'), durationParts(loop?.p99));
  setText(byId('loop-note'), loop ? `p50 ${duration(loop.p50)}, max ${duration(loop.max)}` : '');
  const waited =
    queue.waitMs?.p50 === null || queue.waitMs?.p50 === undefined
      ? ''
      : ` · waited p50 ${duration(queue.waitMs.p50)}, p99 ${duration(queue.waitMs.p99)}`;
  const dead = queue.dead > 0 ? ` · ${plural(queue.dead, 'dead letter')}` : '';
  setText(
    byId('queue-rates'),
    `${count(queue.enqueuedPerMinute)} in, ${count(queue.committedPerMinute)} done a minute${waited}${dead}`,
  );
}

/** Shows what a processing_status event carries. */
export function showQueue({ queueDepth, activeSessions }) {
  setFigure(byId('depth'), [count(queueDepth), '']);
  setFigure(byId('session-count'), [count(activeSessions), '']);
}

/** Shows one answer of /api/stats. */
export function showStats({ database }) {
  setFigure(byId('stored'), [count(database.observations), '']);
  setText(byId('stored-note'), `${plural(database.sessions, 'session')}, ${size(database.size)}`);
}

/** Says that the worker does not answer. */
export function showOutage() {
  setState('health-state', 'critical', 'No answer');
  byId('notice').hidden = false;
  setText(byId('notice'), 'The worker does not answer. The page goes on by itself as soon as it does.');
}

/** Says whether events arrive. */
export function showStream(state) {
  if (state === 'live') setState('stream-state', 'ok', 'Live');
  else setState('stream-state', 'warn', 'Reconnecting…');
}
