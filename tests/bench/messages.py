#!/usr/bin/env python3
"""The bodies that scripts/bench posts.

usage: messages.py FOLDER BYTES...    write ascii-BYTES.json and mixed-BYTES.json: {"message": m}, m of so many bytes
"""

import json
import os
import sys

ASCII = "the quick brown fox jumps over the lazy dog, "
# Latin with accents, precomposed and combining; Greek, Cyrillic, Hebrew, Devanagari, Chinese, flags, a family.
MIXED = "plain, d\u00e9j\u00e0 vu, e\u0301te\u0301, Ελλάδα, Кирилл, שלום, नमस्ते, 漢字かな, 🇩🇪🇫🇷, 👩‍👩‍👧, "


def message(sample, size):
    """A text of exactly `size` bytes in UTF-8: the sample again and again, then a bit of ASCII to fill up."""
    whole = sample * (size // len(sample.encode()) + 1)
    text = whole.encode()[:size].decode(errors="ignore")
    return text + "." * (size - len(text.encode()))


def main(folder, *sizes):
    for name, sample in (("ascii", ASCII), ("mixed", MIXED)):
        for size in map(int, sizes):
            with open(os.path.join(folder, f"{name}-{size}.json"), "w", encoding="utf-8") as file:
                json.dump({"message": message(sample, size)}, file, ensure_ascii=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
