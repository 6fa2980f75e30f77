"""Where the examples find Latchkey: in the environment, or in what `scripts/run` wrote to .run/env.

An application has settings of its own: this file is the one not to copy.
"""

import os
import shlex
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
RUN_ENV = HERE.parent.parent / ".run" / "env"
DEFAULTS = {"LATCHKEY_BROKER_PREFIX": "latchkey"}


def read(name):
    """A setting, or the end of the program with a word on what to do."""
    value = os.environ.get(name) or of_the_checkout().get(name) or DEFAULTS.get(name)
    if not value:
        sys.exit(f"{name} is not set: set it, or start Latchkey with ./scripts/run --detach")
    return value


def of_the_checkout():
    """Lines such as `export LATCHKEY_URL=http://127.0.0.1:8080`."""
    if not RUN_ENV.exists():
        return {}
    lines = (shlex.split(line) for line in RUN_ENV.read_text().splitlines())
    return dict(words[1].split("=", 1) for words in lines if len(words) == 2)


def lacks(package):
    """Ends the program where a package is not installed."""
    print(f"{package} is missing: {sys.executable} -m pip install -r {HERE}/requirements.txt", file=sys.stderr)
    sys.exit(2)
