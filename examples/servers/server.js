// An HTTP server of Node that closes no connection on which a request may be on its way.
//
//     panzer -x -n 4 -b 127.0.0.1:8000 --ready notify -- node server.js
const { execFile } = require('child_process');
const http = require('http');

let stopping = false;

const server = http.createServer((request, response) => {
  if (stopping) response.setHeader('Connection', 'close');
  response.end(`hello from ${process.pid}\n`);
});
server.keepAliveTimeout = 5000;
server.listen({ fd: 3 }, () => {
  if (process.env.NOTIFY_SOCKET) execFile('systemd-notify', ['--ready']);
});

process.on('SIGTERM', () => {
  stopping = true;
  // close() would close idle connections at once (since Node 19): they wait for a last request.
  const { closeIdleConnections } = server;
  server.closeIdleConnections = () => {};
  server.close(() => process.exit());
  setTimeout(() => closeIdleConnections.call(server), server.keepAliveTimeout);
});
