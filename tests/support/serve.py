"""A whole server as a process of its own: the settings come from the environment, as they do for everybody."""

import os
import sys

from workstation.server.run import StartFailure, Told, up
from workstation.server.settings import Settings

if __name__ == "__main__":
    try:
        sys.exit(up(Settings.from_environment(os.environ), Told(lambda running: print(running, flush=True))))
    except StartFailure as failure:
        sys.exit(str(failure))
