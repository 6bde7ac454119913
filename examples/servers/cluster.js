// server.js in a cluster of Node.
//
//     panzer -b 127.0.0.1:8000 -- node cluster.js
const { execFile } = require('child_process');
const cluster = require('cluster');

const COUNT = 2;
// Each worker accepts by itself. Otherwise the primary accepts for them, and what it has
// accepted when they stop is lost.
cluster.schedulingPolicy = cluster.SCHED_NONE;

if (cluster.isPrimary) {
  let ready = 0;
  let stopping = false;
  for (let n = 0; n < COUNT; n++) cluster.fork({ NOTIFY_SOCKET: '' });
  cluster.on('listening', () => {
    if (++ready === COUNT) execFile('systemd-notify', ['--ready']);
  });
  cluster.on('exit', () => {
    // A worker that never listened is a broken release. Another one is replaced.
    if (ready < COUNT) process.exit(1);
    if (!stopping) cluster.fork({ NOTIFY_SOCKET: '' });
    else if (Object.keys(cluster.workers).length === 0) process.exit();
  });
  process.on('SIGTERM', () => {
    stopping = true;
    for (const worker of Object.values(cluster.workers)) worker.process.kill('SIGTERM');
  });
} else {
  require('./server.js');
}
