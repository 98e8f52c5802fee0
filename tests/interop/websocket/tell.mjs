// Plays story.js with the npm package ws, and what only that can do; for tests/interop/test_websocket.py.
// usage: node tell.mjs URL TOKEN. Prints what it was told as JSON.

import { readFileSync } from 'node:fs';

import WebSocket from 'ws';

const [url, token] = process.argv.slice(2);
const story = new Function(`${readFileSync(new URL('story.js', import.meta.url), 'utf8')}; return story;`)();

function once(socket, name) {
  return new Promise((resolve) => socket.once(name, resolve));
}

async function frames() {
  const socket = new WebSocket(url, 'pushctl.v1', { perMessageDeflate: true });
  const heard = [];
  const synced = new Promise((resolve) => {
    socket.on('message', (data) => {
      heard.push(JSON.parse(data).type);
      if (heard.at(-1) === 'sync') resolve();
    });
  });
  const pinged = once(socket, 'ping');
  await once(socket, 'open');
  // A hello in pieces, within a character too, with a ping and a pong between them.
  const hello = Buffer.from(JSON.stringify({ type: 'hello', token, cursor: null, x: '🦊' }));
  const cuts = [0, 1, 1, 20, hello.length - 4, hello.length];
  for (let at = 0; at + 1 < cuts.length; at += 1) {
    socket.send(hello.subarray(cuts[at], cuts[at + 1]), { binary: false, fin: at + 2 === cuts.length });
    socket.ping('between');
    socket.pong('unasked');
  }
  await synced;
  const echoes = [];
  for (const payload of ['', 'p'.repeat(125)]) {
    const pong = once(socket, 'pong');
    socket.ping(payload);
    let echo;
    do echo = String(await (echo === undefined ? pong : once(socket, 'pong'))); while (echo === 'between');
    echoes.push(echo.length);
  }
  await pinged;
  socket.close(1001, 'leaving');
  const code = await once(socket, 'close');
  return { heard, echoes, code, extensions: socket.extensions };
}

const told = { ...(await story(WebSocket, url, token)), frames: await frames() };
console.log(JSON.stringify(told));
