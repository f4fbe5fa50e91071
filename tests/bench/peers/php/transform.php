<?php
// transform of the peer "php": reverses by extended grapheme cluster (\X of PCRE); ASCII without CR takes the short way.

declare(strict_types=1);

require __DIR__ . '/message.php';

function reversed(string $text): string
{
    if (mb_check_encoding($text, 'ASCII') && !str_contains($text, "\r")) {
        return strrev($text);
    }
    preg_match_all('/\X/u', $text, $clusters);
    return implode(array_reverse($clusters[0]));
}

answer(200, ['message' => reversed(message())]);
