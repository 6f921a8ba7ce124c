// The list of active sessions.
import { byId, element } from './elements.mjs';
import { ago, count } from './format.mjs';
import { readJson } from './worker-client.mjs';

function row({ sessionDbId, project, userPrompt, lastActiveEpoch, depth, isWorking }) {
  const state = depth > 0 ? `${count(depth)} waiting` : isWorking ? 'working' : 'idle';
  return element('li', {
    children: [
      element('span', {
        className: 'name',
        text: project || 'no project yet',
        children: [element('span', { className: 'small', text: `#${sessionDbId}` })],
      }),
      element('span', { className: 'count', text: state, 'data-busy': String(depth > 0 || isWorking) }),
      element('span', { className: 'prompt small', text: userPrompt || 'No prompt yet' }),
      element('span', { className: 'count small', text: ago(lastActiveEpoch) }),
    ],
  });
}

/** Reads and shows the active sessions. */
export async function refreshSessions() {
  const { sessions, total } = await readJson('/api/sessions');
  const rows = sessions.map(row);
  if (total > sessions.length)
    rows.push(element('li', { className: 'small', text: `and ${count(total - sessions.length)} more` }));
  byId('sessions').replaceChildren(...rows);
  byId('sessions').hidden = total === 0;
  byId('sessions-empty').hidden = total > 0;
}
