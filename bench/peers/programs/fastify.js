// @fastify/http-proxy with one prefix, relaying WebSockets too; arguments: port, upstream URL.
const [port, upstream] = process.argv.slice(2)
const server = require('fastify')({ logger: false, bodyLimit: Number.MAX_SAFE_INTEGER })
server.register(require('@fastify/http-proxy'), { upstream, prefix: '/service', rewritePrefix: '/service', websocket: true })
server.listen({ port: Number(port), host: '127.0.0.1' })
