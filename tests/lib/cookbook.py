"""docs/handlers.md as a test: its C samples are a program, its calls are made, its answers compared.

    cookbook.py source PAGE         the C samples, one after the other
    cookbook.py nginx PAGE          its lines of nginx's configuration
    cookbook.py calls PAGE SOCKET   make each call ($) of the console blocks in the current folder, and compare the output
"""

import os
import re
import subprocess
import sys

CALL = 'call() {{ python3 "{root}/tests/lib/fcgi.py" call "{socket}" "$@"; }}\n'


def blocks(page, language):
    """(line, text) of each fenced block of this language."""
    with open(page, encoding="utf-8") as file:
        text = file.read()
    for match in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        yield text.count("\n", 0, match.start(1)) + 1, match[1]


def source(page):
    for line, text in blocks(page, "c"):
        print(f'#line {line} "{page}"\n{text}')
    return 0


def nginx(page):
    print("".join(text for _, text in blocks(page, "nginx")))
    return 0


def examples(page):
    """(line, command, what it prints) for each $ of the console blocks."""
    for line, text in blocks(page, "console"):
        for match in re.finditer(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE):
            yield line + text.count("\n", 0, match.start()), match[1], match[2]


def calls(page, path):
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    count, failed = 0, 0
    for line, command, expected in examples(page):
        done = subprocess.run(["bash", "-c", CALL.format(root=root, socket=path) + command], stdin=subprocess.DEVNULL,
                              capture_output=True, check=False)
        actual = done.stdout.decode().replace("\r\n", "\n")
        actual += "" if actual.endswith("\n") else "\n"  # a body has no line's end of its own
        count += 1
        if actual != expected:
            failed += 1
            print(f"{page}:{line}: $ {command}\n--- the page\n{expected}--- what came\n{actual}{done.stderr.decode()}")
    print(f"{count} calls, {failed} failed")
    return 0 if count and not failed else 1


if __name__ == "__main__":
    sys.exit(globals()[sys.argv[1]](*sys.argv[2:]))
