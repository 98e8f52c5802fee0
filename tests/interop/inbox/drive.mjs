// Drives a real Chromium by Playwright, for tests/interop/chromium.py.
//
// usage: node drive.mjs PROGRAM. Each line of standard input is a JSON object {"person", "tab", "code", "values"} and
// is answered by one line {"result"} or {"error"}. `code` is the body of an async function of `page` (that person's tab
// of that name, opened when it is first named), `context`, `pages`, `said` (what the person's pages wrote to their
// consoles), `values` and `axe` (axe-core's source). Each person has a browser to herself. Code `null`: she leaves.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

import { chromium } from 'playwright-core';

const PATIENCE_MS = 20_000;
const AsyncFunction = (async () => {}).constructor;
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const people = {};
let front = null;

const browser = await chromium.launch({
  executablePath: process.argv[2],
  args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-background-networking'],
});

async function arrive() {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, colorScheme: 'light' });
  context.setDefaultTimeout(PATIENCE_MS);
  const person = { context, pages: {}, said: [] };
  context.on('console', (message) => person.said.push(`${message.type()}: ${message.text()}`));
  context.on('weberror', (error) => person.said.push(`error: ${error.error().message}`));
  return person;
}

async function answer({ person: name, tab, code, values }) {
  const person = (people[name] ??= await arrive());
  const { context, pages, said } = person;
  if (code === null) {
    delete people[name];
    await context.close();
    return null;
  }
  const page = (pages[tab] ??= await context.newPage());
  if (front !== page) await page.bringToFront(); // a tab in the background has a frame in a second
  front = page;
  const names = ['page', 'context', 'pages', 'said', 'values', 'axe'];
  return new AsyncFunction(...names, code)(page, context, pages, said, values, axe);
}

console.log(JSON.stringify({ result: browser.version() }));
for await (const line of createInterface({ input: process.stdin })) {
  const said = await answer(JSON.parse(line)).then(
    (result) => ({ result: result ?? null }), (error) => ({ error: String(error.message ?? error) }));
  console.log(JSON.stringify(said));
}
await browser.close();
