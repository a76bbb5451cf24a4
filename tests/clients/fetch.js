// Fetches a page through a proxy as agents for Node's https do: PROXY URL AUTHORITY FILE.
const fs = require('node:fs');
const http = require('node:http');
const https = require('node:https');
const tls = require('node:tls');

const [proxy, url] = process.argv.slice(2, 4).map((text) => new URL(text));
const [authority, file] = process.argv.slice(4);
const credentials = Buffer.from(`${proxy.username}:${proxy.password}`).toString('base64');

http
  .request({
    host: proxy.hostname,
    port: proxy.port,
    method: 'CONNECT',
    path: url.host,
    headers: { 'Proxy-Authorization': `Basic ${credentials}` },
  })
  .on('connect', (answer, socket) => {
    if (answer.statusCode !== 200) {
      console.error(`proxy: ${answer.statusCode} ${answer.statusMessage}`);
      process.exit(1);
    }
    const ca = fs.readFileSync(authority);
    const createConnection = () => tls.connect({ socket, servername: url.hostname, ca });
    https.get(url, { createConnection }, (page) => page.pipe(fs.createWriteStream(file)));
  })
  .end();
