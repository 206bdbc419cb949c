// http-proxy relaying WebSockets too; arguments: port, upstream URL.
const [port, target] = process.argv.slice(2)
require('http-proxy').createProxyServer({ target, ws: true }).listen(Number(port), '127.0.0.1')
