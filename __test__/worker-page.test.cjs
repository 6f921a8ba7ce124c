'use strict';
// The worker's page in a real browser: what it shows, that it follows what happens, and that it needs no network.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { without } = require('./runtime.cjs');
const { WorkerUnderTest, temporaryDirectory } = require('./worker/worker-under-test.cjs');
const { createSessions, readCall } = require('./worker/sessions.cjs');
const { findChromium } = require('./worker/chromium.cjs');

const CHROMIUM = findChromium();
const SKIP =
  CHROMIUM === null && 'no Chromium found: install it (apt-get install chromium) or name it with CHROMIUM_PATH';
const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
// WORKER_PAGE_SCREENSHOTS names a directory where the pictures that this test takes are kept.
const SCREENSHOTS = process.env.WORKER_PAGE_SCREENSHOTS;

/** A browser page on a new worker; `problems` gathers errors, refused requests and anything asked of another host. */
async function openPage(
  t,
  { sessions = 2, prompt, width = 1360, height = 900, colorScheme = 'light', environment } = {},
) {
  const dataDir = temporaryDirectory(t);
  const ids = await createSessions(dataDir, sessions, { prompt });
  const worker = await new WorkerUnderTest(t, { dataDir, environment }).start();
  const { chromium } = require('playwright-core');
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
  t.after(() => browser.close());
  const page = await browser.newPage({ viewport: { width, height }, colorScheme });
  const problems = [];
  page.on('pageerror', (error) => problems.push(`error: ${error.message}`));
  page.on('console', (message) => message.type() === 'error' && problems.push(`console: ${message.text()}`));
  page.on('request', (request) => {
    if (!request.url().startsWith(`http://127.0.0.1:${worker.port}/`)) problems.push(`asked ${request.url()}`);
  });
  await page.goto(`http://127.0.0.1:${worker.port}/`);
  await page.locator('#health-state[data-state="ok"]').waitFor();
  return { page, worker, ids, problems };
}

const text = (page, selector) => page.locator(selector).innerText();

async function screenshot(page, name) {
  if (SCREENSHOTS) await page.screenshot({ path: path.join(SCREENSHOTS, `${name}.png`), fullPage: true });
}

test('a new worker shows its figures and says what is empty', { skip: SKIP }, async (t) => {
  const { page, problems } = await openPage(t);
  assert.match(await text(page, '#heap-used'), /^\d+(\.\d)?\s*MB$/);
  assert.match(await text(page, '#heap-note'), /% of the .+ limit/);
  assert.equal(await text(page, '#depth'), '0');
  await page.locator('#observations-empty:visible').waitFor();
  assert.match(await text(page, '#observations-empty'), /No observation is stored yet/);
  assert.match(await text(page, '#sessions-empty'), /No session is active/);
  await page.locator('#stream-state[data-state="ok"]').waitFor();
  await screenshot(page, 'empty');
  assert.deepEqual(problems, []);
});

test('memory is drawn as five lines, on two scales, and read with pointer and keys', { skip: SKIP }, async (t) => {
  const { page, problems } = await openPage(t);
  await page.locator('#memory-chart path[data-series="heapUsed"]').waitFor();
  const series = () =>
    page.locator('#memory-chart path.series').evaluateAll((paths) => paths.map((one) => one.dataset.series).sort());
  const limit = without('limit of the heap') ? [] : ['heapLimit'];
  assert.deepEqual(await series(), ['heapAllocated', ...limit, 'heapUsed', 'native', 'rss']);
  const legend = await text(page, '#memory-legend');
  for (const label of ['Native', 'Heap used', 'Allocated', 'RSS', ...(limit.length > 0 ? ['Heap limit'] : [])])
    assert.ok(legend.includes(label), legend);
  await page.getByRole('radio', { name: 'Linear' }).check();
  assert.deepEqual(await series(), ['heapAllocated', 'heapUsed', 'native', 'rss']);
  await page.getByRole('radio', { name: 'Log' }).check();
  await page.locator('#memory-chart svg').focus();
  await page.keyboard.press('ArrowLeft');
  const tip = await text(page, '#memory-chart .tip');
  for (const label of [...(limit.length > 0 ? ['Heap limit'] : []), 'RSS', 'MB']) assert.ok(tip.includes(label), tip);
  await page.keyboard.press('Escape');
  assert.equal(await page.locator('#memory-chart .tip').isVisible(), false);
  await page.locator('#memory-chart svg').hover();
  assert.equal(await page.locator('#memory-chart .tip').isVisible(), true);
  assert.match(await page.locator('#memory-chart svg').getAttribute('aria-label'), /now: .*Heap used \d/);
  assert.deepEqual(problems, []);
});

test('what happens appears by itself; markup in it stays text', { skip: SKIP }, async (t) => {
  const {
    page,
    worker,
    ids: [id],
    problems,
  } = await openPage(t, { prompt: '<img src=x onerror="document.title=1">' });
  await page.locator('#stream-state[data-state="ok"]').waitFor();
  await worker.post(`/sessions/${id}/init`, { userPrompt: 'u', promptNumber: 1 });
  await worker.post(`/sessions/${id}/observations`, readCall('tokenCache'));
  await worker.post(`/sessions/${id}/observations`, {
    tool_name: 'Bash',
    tool_input: JSON.stringify({ command: 'git commit -m "fix: <script>document.title=2</script><b>bold</b>"' }),
    tool_response: '{"stdout":"1 file changed"}',
  });
  const first = page.locator('#observations > li').first();
  await page.locator('#observations > li').nth(1).waitFor();
  assert.match(await first.innerText(), /bugfix[\s\S]*<script>document\.title=2<\/script><b>bold<\/b>/);
  await first.locator('summary').click();
  // What an opened row holds is laid out by an event of its own, and a session's prompt is read after its row.
  await first.getByText('what-changed').waitFor();
  await page.locator('#sessions li', { hasText: '<img src=x' }).first().waitFor();
  assert.match(await text(page, '#sessions'), /demo[\s\S]*#1[\s\S]*<img src=x/);
  await page.waitForFunction(() => document.querySelector('#stored').textContent === '2');
  assert.equal(await page.title(), 'claude-mem');
  assert.deepEqual(problems, []);
});

test('the search box finds, filters, and comes back', { skip: SKIP }, async (t) => {
  // Without a model: meaning would find something for any words.
  const environment = { CLAUDE_MEM_MODEL_DIR: temporaryDirectory(t) };
  const { page, worker, ids, problems } = await openPage(t, { environment });
  for (const mark of ['tokenCache', 'leaseTable', 'cursorPool'])
    await worker.post(`/sessions/${ids[0]}/observations`, readCall(mark));
  await page.locator('#observations > li').nth(2).waitFor();
  const titles = () => page.locator('#observations .title').allInnerTexts();
  const shows = (count) =>
    page.waitForFunction((wanted) => document.querySelectorAll('#observations > li').length === wanted, count);
  await page.locator('#search-text').fill('leaseTable');
  await shows(1);
  assert.deepEqual(await titles(), ['leaseTable.js defines leaseTable']);
  assert.match(await text(page, '#memories-note'), /1 observation for “leaseTable”, best first, by words only/);
  await page.locator('#search-text').fill('nowhere to be found');
  await page.locator('#observations-empty:visible').waitFor();
  assert.match(await text(page, '#observations-empty'), /Nothing found/);
  await page.locator('#search-text').fill('');
  await shows(3);
  await page.locator('#search-type').selectOption('bugfix');
  await shows(0);
  await page.locator('#search-type').selectOption('discovery');
  await shows(3);
  await page.locator('#search-project').selectOption('demo');
  await shows(3);
  assert.deepEqual(problems, []);
});

test('the page says when the worker is away, and goes on when it is back', { skip: SKIP }, async (t) => {
  const { page, worker } = await openPage(t);
  const { port, dataDir } = worker;
  await worker.end('SIGKILL');
  await page.locator('#health-state[data-state="critical"]').waitFor();
  assert.match(await text(page, '#notice'), /does not answer/);
  await new WorkerUnderTest(t, { dataDir }).start({ port });
  await page.locator('#health-state[data-state="ok"]').waitFor();
  await page.locator('#stream-state[data-state="ok"]').waitFor();
  assert.equal(await page.locator('#notice').isVisible(), false);
});

for (const [name, width, colorScheme] of [
  ['wide-light', 1360, 'light'],
  ['wide-dark', 1360, 'dark'],
  ['narrow-light', 360, 'light'],
  ['narrow-dark', 360, 'dark'],
]) {
  test(`nothing is cut off or hard to read: ${name}`, { skip: SKIP }, async (t) => {
    const {
      page,
      worker,
      ids: [id],
    } = await openPage(t, { width, colorScheme });
    for (const mark of ['tokenCache', 'aVeryLongNameThatGoesOnAndOnWithoutAnySpaceToBreakItAnywhereAtAll'.repeat(3)]) {
      await worker.post(`/sessions/${id}/observations`, readCall(mark));
    }
    await page.locator('#observations > li').nth(1).waitFor();
    await page.locator('#observations summary').first().click();
    const wider = await page.evaluate(
      () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
    );
    assert.equal(wider, 0, `the page is ${wider} px wider than the window`);
    const weak = await page.evaluate(contrasts);
    assert.deepEqual(weak, []);
    await screenshot(page, name);
  });
}

/** Runs in the page: texts whose contrast to what lies behind them is below 4.5 : 1. */
function contrasts() {
  const channels = (color) => {
    const canvas = Object.assign(document.createElement('canvas'), { width: 1, height: 1 });
    const context = canvas.getContext('2d');
    context.fillStyle = color;
    context.fillRect(0, 0, 1, 1);
    return Array.from(context.getImageData(0, 0, 1, 1).data);
  };
  const luminance = ([r, g, b]) =>
    [r, g, b]
      .map((value) => value / 255)
      .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
      .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
  const behind = (element) => {
    for (let at = element; at !== null; at = at.parentElement) {
      const color = channels(getComputedStyle(at).backgroundColor);
      if (color[3] === 255) return color;
    }
    return [255, 255, 255];
  };
  // Rows that have just arrived are still fading in.
  for (const animation of document.getAnimations()) animation.finish();
  const weak = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    const value = texts.currentNode.textContent.trim();
    if (
      value === '' ||
      element.closest('.hidden, .skip, noscript, script, option') ||
      element.getClientRects().length === 0
    )
      continue;
    const style = getComputedStyle(element);
    const color = element instanceof SVGElement ? style.fill : style.color;
    const [light, dark] = [luminance(channels(color)), luminance(behind(element))].sort((a, b) => b - a);
    const ratio = (light + 0.05) / (dark + 0.05);
    if (ratio < 4.5) weak.push(`${value.slice(0, 40)} (${ratio.toFixed(2)})`);
  }
  return [...new Set(weak)];
}
