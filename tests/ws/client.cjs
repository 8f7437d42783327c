// A client in JavaScript: `node client.cjs ws|undici URL [PROTOCOL…]`.
// Lines on stdin are sent, the line `close` closes. What happens is printed, one JSON object a line.
const [kind, url, ...protocols] = process.argv.slice(2);
const WebSocketClass = kind === 'ws' ? require('ws') : globalThis.WebSocket;
const socket = new WebSocketClass(url, protocols);
const print = (value) => console.log(JSON.stringify(value));
socket.onopen = () => print({ open: socket.protocol });
socket.onmessage = (event) => print({ message: JSON.parse(event.data) });
socket.onerror = () => print({ error: true });
socket.onclose = (event) => {
  print({ close: event.code, reason: event.reason, clean: event.wasClean });
  process.exit(0);
};
require('readline')
  .createInterface({ input: process.stdin })
  .on('line', (line) => (line === 'close' ? socket.close(1000, 'bye') : socket.send(line)));
