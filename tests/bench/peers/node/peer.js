// The peer "node": app and transform on node's own http, a cluster of two each, JSON over kept-alive connections.
// usage: node peer.js transform SOCKET | node peer.js app SOCKET TRANSFORM-SOCKET
//
// transform reverses by extended grapheme cluster (Intl.Segmenter); ASCII without CR takes the short way.
'use strict';

const cluster = require('node:cluster');
const http = require('node:http');

const WORKERS = 2;
const [, , service, socketPath, transformPath] = process.argv;
const agent = new http.Agent({ keepAlive: true, maxFreeSockets: 4096 });
const segmenter = new Intl.Segmenter(undefined, { granularity: 'grapheme' });

function collect(stream, then) {
    const chunks = [];
    stream.on('data', (chunk) => chunks.push(chunk));
    stream.on('end', () => then(Buffer.concat(chunks).toString()));
}

// The message of a body; throws what is wrong with it.
function messageOf(body) {
    const message = JSON.parse(body)?.message;
    if (typeof message !== 'string') throw new TypeError('there is no message that is a string');
    return message;
}

function send(response, status, value) {
    const body = Buffer.from(JSON.stringify(value));
    response.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': body.length });
    response.end(body);
}

function reverse(text) {
    if (/^[\x00-\x0c\x0e-\x7f]*$/.test(text)) return text.split('').reverse().join('');
    return Array.from(segmenter.segment(text), (part) => part.segment).reverse().join('');
}

function askTransform(message, then) {
    const body = Buffer.from(JSON.stringify({ message }));
    const headers = { 'Content-Type': 'application/json', 'Content-Length': body.length };
    const call = http.request({ agent, socketPath: transformPath, path: '/reverse', method: 'POST', headers }, (reply) =>
        collect(reply, (text) =>
            reply.statusCode === 200 ? then(null, JSON.parse(text).message) : then(new Error(String(reply.statusCode)))));
    call.on('error', then);
    call.end(body);
}

function answer(message, response) {
    if (service === 'transform') return send(response, 200, { message: reverse(message) });
    askTransform(message, (error, reversed) =>
        error ? send(response, 502, { error: error.message })
            : send(response, 200, { message: reversed, rand: Math.random() }));
}

function handle(request, response) {
    collect(request, (body) => {
        let message;
        try {
            message = messageOf(body);
        } catch (error) {
            return send(response, 400, { error: error.message });
        }
        answer(message, response);
    });
}

if (cluster.isPrimary) {
    for (let i = 0; i < WORKERS; i++) cluster.fork();
} else {
    // Longer than nginx keeps an idle connection: it never sends into a closing one.
    http.createServer({ keepAliveTimeout: 75_000 }, handle).listen({ path: socketPath, backlog: 4096 });
}
