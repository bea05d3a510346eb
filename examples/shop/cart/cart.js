// Carts: GET and POST /api/cart/BUYER, DELETE /api/cart/BUYER; kept in redis as one hash per buyer.
'use strict';
const http = require('http');
const net = require('net');

// A client of redis' protocol (RESP): one connection, answers in the order of the questions.
class Redis {
  constructor(host) {
    this.host = host;
    this.waiting = [];
    this.buffer = Buffer.alloc(0);
  }

  connection() {
    if (this.socket) return this.socket;
    const socket = net.connect(6379, this.host);
    const lost = (error) => {
      if (this.socket !== socket) return;
      this.socket = null;
      this.buffer = Buffer.alloc(0);
      for (const w of this.waiting.splice(0)) w.reject(error || new Error('redis closed the connection'));
    };
    socket.on('data', (data) => this.take(data));
    socket.on('error', lost);
    socket.on('close', () => lost());
    return (this.socket = socket);
  }

  command(...words) {
    return new Promise((resolve, reject) => {
      const socket = this.connection();
      this.waiting.push({resolve, reject});
      socket.write(`*${words.length}\r\n` + words.map((w) => `$${Buffer.byteLength(String(w))}\r\n${w}\r\n`).join(''));
    });
  }

  take(data) {
    this.buffer = Buffer.concat([this.buffer, data]);
    for (;;) {
      const read = this.parse(0);
      if (!read) return;
      this.buffer = this.buffer.subarray(read.end);
      const w = this.waiting.shift();
      if (read.value instanceof Error) w.reject(read.value);
      else w.resolve(read.value);
    }
  }

  // One value that begins at `at`: {value, end}, or undefined when it is not all there yet.
  parse(at) {
    const line = this.buffer.indexOf('\r\n', at);
    if (line < 0) return undefined;
    const text = this.buffer.toString('utf8', at + 1, line), end = line + 2;
    switch (String.fromCharCode(this.buffer[at])) {
      case '+': return {value: text, end};
      case '-': return {value: new Error(text), end};
      case ':': return {value: Number(text), end};
      case '$': {
        const size = Number(text);
        if (size < 0) return {value: null, end};
        if (this.buffer.length < end + size + 2) return undefined;
        return {value: this.buffer.toString('utf8', end, end + size), end: end + size + 2};
      }
      default: {
        const list = [];
        let next = end;
        for (let n = 0; n < Number(text); n++) {
          const one = this.parse(next);
          if (!one) return undefined;
          list.push(one.value);
          next = one.end;
        }
        return {value: list, end: next};
      }
    }
  }
}

const redis = new Redis(process.env.REDIS_HOST || 'redis');

async function cartOf(buyer) {
  const flat = await redis.command('HGETALL', 'cart:' + buyer), items = [];
  for (let n = 0; n + 1 < flat.length; n += 2) items.push({sku: flat[n], quantity: Number(flat[n + 1])});
  return {buyer, items};
}

function body(request) {
  return new Promise((resolve, reject) => {
    let text = '';
    request.on('data', (d) => {
      text += d;
      if (text.length > 65536) reject(new Error('the request is too long'));
    });
    request.on('end', () => resolve(text));
    request.on('error', reject);
  });
}

async function serve(request) {
  if (request.url === '/healthz') return [200, {redis: await redis.command('PING')}];
  const match = /^\/api\/cart\/([A-Za-z0-9_-]{1,64})$/.exec(request.url);
  if (!match) return [404, {error: 'no such page'}];
  const key = 'cart:' + match[1];
  if (request.method === 'DELETE') {
    await redis.command('DEL', key);
    return [200, {buyer: match[1], items: []}];
  }
  if (request.method === 'POST') {
    let item;
    try {
      item = JSON.parse(await body(request));
    } catch (e) {
      return [400, {error: 'not JSON: ' + e.message}];
    }
    if (typeof item.sku !== 'string' || !Number.isInteger(item.quantity) || item.quantity < 1 || item.quantity > 1000)
      return [400, {error: 'wanted: {"sku": text, "quantity": 1 to 1000}'}];
    await redis.command('HINCRBY', key, item.sku, item.quantity);
    await redis.command('EXPIRE', key, 86400);
  }
  return [200, await cartOf(match[1])];
}

const server = http.createServer(async (request, response) => {
  let status, value;
  try {
    [status, value] = await serve(request);
  } catch (e) {
    [status, value] = [503, {error: 'redis: ' + e.message}];
  }
  const text = JSON.stringify(value);
  response.writeHead(status, {'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text)});
  response.end(text);
});
server.listen(8000, () => console.log('cart: listening'));
process.on('SIGTERM', () => server.close(() => process.exit(0)));
