<?php
// What both services of the peer "php" share: reading the request, writing the answer.

declare(strict_types=1);

function answer(int $status, array $value): never
{
    http_response_code($status);
    header('Content-Type: application/json');
    exit(json_encode($value, JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES));
}

// The message of the request's body; else the request ends with 400.
function message(): string
{
    $body = json_decode(file_get_contents('php://input'));
    if (!is_object($body) || !is_string($body->message ?? null)) {
        answer(400, ['error' => 'send JSON: an object with a message that is a string']);
    }
    return $body->message;
}
