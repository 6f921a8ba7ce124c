// Puts the page together: what arrives from the worker goes to the part that shows it.
import { addHealth, startCharts } from './charts.mjs';
import { showHealth, showOutage, showQueue, showStats, showStream } from './figures.mjs';
import { addObservation, refreshMemories, showProjects, startMemories } from './memories.mjs';
import { refreshSessions } from './sessions.mjs';
import { atMostEvery, listen, pollHealth, readJson } from './worker-client.mjs';

const ignore = () => {}; // a failed reading shows through /health; the next event or poll reads again
const sessionsSoon = atMostEvery(1_000, () => refreshSessions().catch(ignore));
const statsSoon = atMostEvery(2_000, () => readJson('/api/stats').then(showStats, ignore));

let wasAway = false;

startCharts().catch(ignore);
startMemories();
statsSoon();

pollHealth(
  (health) => {
    showHealth(health);
    addHealth(health);
    sessionsSoon();
    if (wasAway) {
      wasAway = false;
      refreshMemories();
      statsSoon();
    }
  },
  () => {
    wasAway = true;
    showOutage();
  },
);

listen(
  {
    initial_load: ({ projects }) => showProjects(projects),
    processing_status: showQueue,
    new_observation: ({ observation }) => {
      addObservation(observation);
      statsSoon();
    },
    new_summary: statsSoon,
    observation_queued: sessionsSoon,
    session_started: sessionsSoon,
    session_completed: sessionsSoon,
  },
  showStream,
);
