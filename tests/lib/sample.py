"""The sample request, and whether an answer to it is right: as scripts/lib/sample.sh, which reads the file `sample`, has it."""

import os
import subprocess

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def shell(command, **options):
    """A command of bash's that knows what sample.sh has."""
    load = 'source "$0/scripts/lib/words.sh" && source "$0/scripts/lib/sample.sh" && '
    return subprocess.run(["bash", "-c", load + command, ROOT], stdout=subprocess.PIPE, check=False, **options)


def is_right(body):
    return shell('is_sample_answer "$(cat)"', input=body).returncode == 0


REQUEST = shell('printf %s "$SAMPLE_REQUEST"').stdout
assert REQUEST, "scripts/lib/sample.sh has no request"
