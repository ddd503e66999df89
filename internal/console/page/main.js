import { startLog, nameFunctions } from './log.js';
import { showStatus, showLost } from './overview.js';
import { offerStages } from './client.js';

const API = '/_livegate/api';

// Only the newest answer counts: two requests may overtake each other.
let asked = 0;

async function refresh() {
  const mine = ++asked;
  try {
    const answer = await fetch(`${API}/status`, { cache: 'no-store' });
    const body = await answer.json();
    if (mine !== asked) return;
    if (!answer.ok) throw new Error(body.error || `HTTP ${answer.status}`);
    showStatus(body);
    offerStages(body);
    nameFunctions(body.functions);
    if (!body.ready) setTimeout(refresh, 500);
  } catch (err) {
    if (mine === asked) showLost(err instanceof TypeError ? '' : err.message);
  }
}

startLog(`${API}/events`, { onStatus: refresh, onOpen: refresh, onLost: () => showLost('') });
