// fast-gateway with one route; arguments: port, upstream URL.
const [port, target] = process.argv.slice(2)
require('fast-gateway')({ routes: [{ prefix: '/service', target }] }).start(Number(port), '127.0.0.1')
