"""``python -m loewner``."""

from .cli import main

if __name__ == "__main__":
    raise SystemExit(main())
