"""``python -m kerascxr`` does what the ``kerascxr`` command does."""

import sys

from kerascxr.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
