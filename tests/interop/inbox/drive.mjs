// Drives a real Chromium (Debian's) by Playwright, for tests/interop/chromium.py.
//
// usage: node drive.mjs PROGRAM. Standard input has one JSON object a line, {"id", "code"}; each is answered by one
// line {"id", "result"} or {"id", "error"}. `code` is the body of an async function of `context`, `pages` (by name),
// `axe` (its source) and `said` (what pages wrote to their consoles); values it keeps in `pages` stay.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

import { chromium } from 'playwright-core';

const AsyncFunction = (async () => {}).constructor;
const browser = await chromium.launch({
  executablePath: process.argv[2], args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
});
const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, reducedMotion: 'no-preference' });
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const pages = {};
const said = [];
context.on('console', (message) => said.push(`${message.type()}: ${message.text()}`));
context.on('weberror', (error) => said.push(`error: ${error.error().message}`));

console.log(JSON.stringify({ id: 0, result: browser.version() }));
for await (const line of createInterface({ input: process.stdin })) {
  const { id, code } = JSON.parse(line);
  let answer;
  try {
    const result = await new AsyncFunction('context', 'pages', 'axe', 'said', code)(context, pages, axe, said);
    answer = { id, result: result ?? null };
  } catch (error) {
    answer = { id, error: String(error.message ?? error) };
  }
  console.log(JSON.stringify(answer));
}
await browser.close();
