"""`python -m bridge` and the console script `cloudphone-bridge`."""

from bridge.cli import main

if __name__ == "__main__":
    main()
