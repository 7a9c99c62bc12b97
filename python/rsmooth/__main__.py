"""The program ``rsmooth``, which is also ``python -m rsmooth``."""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line, or end with status 1 and one line where its packages are not there."""
    try:
        from rsmooth.cli import main as run  # noqa: PLC0415
    except ModuleNotFoundError as error:
        sys.exit(f"rsmooth: {error}")
    run()


if __name__ == "__main__":
    main()
