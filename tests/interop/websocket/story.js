// What every WebSocket client with the browsers' interface can do, for tests/interop/websocket/told.py: it connects to
// a socket server, says hello, says much and little, closes and is closed. `story` comes to what it was told each time.
async function story(WebSocket, url, token) {
  const SIZES = [25, 125, 126, 127, 65535, 65536];

  function ended(socket) {
    return new Promise((resolve) => {
      socket.onclose = ({ code, reason, wasClean }) => resolve({ code, reason, wasClean });
    });
  }

  // A connection that has synced. `heard`: the types of what came since; `until` waits for the next of one.
  async function connected() {
    const socket = new WebSocket(url, 'pushctl.v1');
    const line = { socket, over: ended(socket), heard: [], changed: () => {} };
    socket.onmessage = ({ data }) => {
      line.heard.push(JSON.parse(data).type);
      line.changed();
    };
    line.until = async (type) => {
      while (!line.heard.includes(type)) {
        await Promise.race([new Promise((resolve) => (line.changed = resolve)), line.over.then(() => {
          throw new Error(`closed before ${type}`);
        })]);
      }
      line.heard.splice(0, line.heard.indexOf(type) + 1);
    };
    line.say = (frame) => socket.send(JSON.stringify(frame));
    await new Promise((resolve, reject) => Object.assign(socket, { onopen: resolve, onerror: reject }));
    socket.onerror = null;
    line.say({ type: 'hello', token, cursor: null });
    await line.until('welcome');
    await line.until('sync');
    return line;
  }

  // How a connection ended after this was done with it.
  async function end(act) {
    const line = await connected();
    act(line.socket);
    return line.over;
  }

  const told = { answered: [], closed: {}, refused: {} };
  const line = await connected();
  told.protocol = line.socket.protocol;
  told.extensions = line.socket.extensions;
  for (const size of SIZES) {
    line.say({ type: 'ping', x: '*'.repeat(size - '{"type":"ping","x":""}'.length) });
    await line.until('pong');
    told.answered.push(size);
  }
  line.socket.close(1000);
  told.closed[1000] = await line.over;
  for (const code of [3000, 4999]) told.closed[code] = await end((socket) => socket.close(code, 'grüße'));
  told.closed.none = await end((socket) => socket.close());
  told.refused.nothing = await end((socket) => socket.send(''));
  told.refused.bytes = await end((socket) => socket.send(new Uint8Array([123, 125])));
  told.refused.much = await end((socket) => socket.send('x'.repeat(65537)));
  return told;
}
