"""`python -m linsem COMMAND`."""

import sys

from linsem.cli import main

if __name__ == "__main__":
    sys.exit(main())
