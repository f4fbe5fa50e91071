"""The sample request, and whether an answer to it is right: as the file `sample` says, read by scripts/lib/sample.sh."""

import os
import subprocess

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
LOAD = 'source "$1/scripts/lib/words.sh" && source "$1/scripts/lib/sample.sh" && printf "%s\\n" "$SAMPLE_REQUEST" "$SAMPLE_ANSWER"'

REQUEST, ANSWER = subprocess.run(["bash", "-c", LOAD, "sample.py", ROOT], stdout=subprocess.PIPE, check=True).stdout.splitlines()


def is_right(body):
    """Whether jq finds the filter true of this answer."""
    return subprocess.run(["jq", "-e", ANSWER], input=body, capture_output=True, check=False).returncode == 0
