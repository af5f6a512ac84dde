"""`python -m instructpt`: the command, for programs that start modules, such as torchrun."""

from __future__ import annotations

import sys

from instructpt.cli.commands import main

if __name__ == "__main__":
    sys.exit(main())
