"""`python -m mner.cli`."""

from mner.cli import main

if __name__ == "__main__":
    main()
