// The handler for node: 12 bytes, the version and the pid. On SIGINT, which pm2 sends, it
// closes what is idle and answers the rest.
const fs = require("fs");
const http = require("http");

const version = fs.readFileSync("version", "utf8").trim();
if (!/^\d+$/.test(version)) throw new Error("the version is no number");
const body = version.padStart(4, "0") + " " + String(process.pid).padStart(7);
const server = http.createServer((request, response) => {
  response.writeHead(200, { "Content-Type": "text/plain", "Content-Length": 12 });
  response.end(body);
});
server.listen(Number(process.env.PORT), "127.0.0.1", () => process.send && process.send("ready"));
process.on("SIGINT", () => server.close(() => process.exit(0)));
