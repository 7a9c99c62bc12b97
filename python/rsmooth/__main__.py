"""``python -m rsmooth`` is ``rsmooth``."""

from rsmooth.cli import main

if __name__ == "__main__":
    main()
