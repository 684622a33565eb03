"""`python -m mner` is `mner`."""

from mner.cli import main

if __name__ == "__main__":
    main()
