"""*.md and docs/*.md as a test: their commands as a script, their links, and the names in them.

    docs.py script PAGE             a bash script of all its commands, which compares what a console block shows
    docs.py check ROOT              all pages: what is wrong, a line each
    docs.py reasons ROOT            why a block is not run, a line each

The commands are those of the blocks "sh" and "console", in one shell, one after the other. <!-- not run: REASON --> before a
block leaves it out, and <!-- page not run: REASON --> all of a page. The number in "rand" may differ.
"""

import glob
import os
import re
import subprocess
import sys

COMMANDS = ("sh", "console")
OTHERS = ("c", "nginx", "text")
BLOCK = re.compile(r"(?:<!-- not run: (?P<reason>(?:(?!-->).)*) -->\n+)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.S | re.M)
PAGE_REASON = re.compile(r"<!-- page not run: (.*?) -->", re.S)
PRELUDE = r"""
at() { place=$1; }
trap 'echo "$place: a command failed: $BASH_COMMAND" >&2' ERR
same() {
    local wanted shown
    wanted=$(sed -E 's/"rand":0\.[0-9]+/"rand":N/')
    shown=$(tr -d '\r' <"$OUTPUT" | sed -E 's/"rand":0\.[0-9]+/"rand":N/')
    [[ $shown == "$wanted" ]] || { printf '%s\n  the page shows: %s\n  it printed:     %s\n' "$place" "$wanted" "$shown" >&2; exit 1; }
}
set -eE -o pipefail
"""


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def pages(root):
    return sorted(glob.glob(os.path.join(root, "*.md")) + glob.glob(os.path.join(root, "docs", "*.md")))


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def examples(text):
    """(command, what it prints) for each $ of a console block."""
    return re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.M)


def script(page):
    text = read(page)
    lines = [PRELUDE]
    for block in BLOCK.finditer(text):
        if block["reason"] or block["language"] not in COMMANDS:
            continue
        lines.append(f"at {os.path.basename(page)}:{line_of(text, block.start('text'))}")
        if block["language"] == "sh":
            lines.append(block["text"])
            continue
        for command, output in examples(block["text"]):
            lines.append(f'{{ {command}\n}} >"$OUTPUT"\nsame <<\'END_OF_OUTPUT\'\n{output}END_OF_OUTPUT')
    return "" if PAGE_REASON.search(text) else "\n".join(lines)


def reasons(root):
    for page in pages(root):
        text = read(page)
        for found in [*PAGE_REASON.findall(text), *(block["reason"] for block in BLOCK.finditer(text) if block["reason"])]:
            yield f"{os.path.relpath(page, root)}: {' '.join(found.split())}"


# ---- what a page names ----

def slug(heading):
    """The anchor that GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(text):
    return {slug(heading) for heading in re.findall(r"^#+ (.*)$", BLOCK.sub("", text), re.M)}


def wrong_links(page, text):
    for target in re.findall(r"\]\(([^)\s]+)\)", BLOCK.sub("", text)):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            yield f"{target}: a link to another place, which no test can follow"
            continue
        file = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
        if not os.path.exists(file):
            yield f"{target}: there is no such file"
        elif anchor and anchor not in anchors(read(file)):
            yield f"{target}: that page has no such heading"


def named_paths(text):
    """What stands in `...`, in a reason, in the layout or in a command and begins with a folder of the repository."""
    words = re.findall(r"`([^`\n]+)`", BLOCK.sub("", text)) + re.findall(r"<!-- (?:page )?not run: (.*?) -->", text, re.S)
    words += [block["text"] for block in BLOCK.finditer(text) if block["language"] in COMMANDS]
    return {word.removeprefix("./").rstrip(".,:;") for word in re.findall(r"[\w./*-]+", " ".join(words))}


def wrong_names(root, text, tracked):
    folders = {name.split("/")[0] for name in tracked if "/" in name} - {"build", "run"}
    made = re.findall(r"(?:>|kubernetes/overlay |new-service )([\w./]+)", text)
    targets = set(re.findall(r"^([a-z]+):.*## ", read(os.path.join(root, "Makefile")), re.M))
    for name in sorted(named_paths(text)):
        if name.split("/")[0] in folders and "/" in name and not any(part in name for part in made):
            if not glob.glob(os.path.join(root, name)):
                yield f"{name}: there is no such file"
    for target in set(re.findall(r"`make ([a-z]+)`", text)) - targets:
        yield f"make {target}: there is no such target"


def wrong_layout(root, text):
    layout = re.search(r"^## Layout\n+```text\n(.*?)^```", text, re.S | re.M)
    for name in re.findall(r"^(\S+) ", layout[1], re.M):
        if not os.path.exists(os.path.join(root, name)):
            yield f"the layout has {name}, which is not there"


def wrong_blocks(text):
    for block in BLOCK.finditer(text):
        if block["language"] not in COMMANDS + OTHERS:
            yield f"a block of \"{block['language']}\"; a test knows {', '.join(COMMANDS + OTHERS)}"
    if re.search(r"\n\n(?: {4}|\t)\S", BLOCK.sub("", text)):
        yield "an indented block, of which no test knows what it is; fence it with ```"


def check(root):
    tracked = subprocess.run(["git", "-C", root, "ls-files"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                             check=False).stdout.split()
    tracked = tracked or [os.path.relpath(path, root) for path in glob.glob(os.path.join(root, "*", "*"))]  # no git here
    for page in pages(root):
        text = read(page)
        wrong = [*wrong_blocks(text), *wrong_links(page, text), *wrong_names(root, text, tracked)]
        if page.endswith("README.md"):
            wrong += wrong_layout(root, text)
            count = text.count("\n")
            wrong += [f"{count} lines; at most 150, so that it is read"] if count > 150 else []
        for problem in wrong:
            yield f"{os.path.relpath(page, root)}: {problem}"


def main(arguments):
    command, place = arguments
    if command == "script":
        print(script(place))
        return 0
    lines = list({"check": check, "reasons": reasons}[command](place))
    print("\n".join(lines))
    return int(command == "check" and bool(lines))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
