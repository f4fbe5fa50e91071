<?php
// app of the peer "php": calls transform with curl, over a unix socket of nginx.

declare(strict_types=1);

require __DIR__ . '/message.php';

function reversed(string $message): string
{
    $call = curl_init('http://transform/reverse');
    curl_setopt_array($call, [
        CURLOPT_UNIX_SOCKET_PATH => $_SERVER['TRANSFORM_SOCKET'] ?? getenv('TRANSFORM_SOCKET'),
        CURLOPT_POSTFIELDS => json_encode(['message' => $message], JSON_UNESCAPED_UNICODE),
        CURLOPT_HTTPHEADER => ['Content-Type: application/json', 'Expect:'],
        CURLOPT_RETURNTRANSFER => true,
    ]);
    $body = curl_exec($call);
    if ($body === false || curl_getinfo($call, CURLINFO_RESPONSE_CODE) !== 200) {
        answer(502, ['error' => 'transform does not answer']);
    }
    return json_decode($body)->message;
}

answer(200, ['message' => reversed(message()), 'rand' => lcg_value()]);
