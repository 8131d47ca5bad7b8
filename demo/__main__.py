import sys

# The processes that compute references import this module too, and need none of the below.
if __name__ == "__main__":
    from .run import main

    sys.exit(main())
