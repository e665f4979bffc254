"""`python -m textmill`, which is also what torchrun starts."""

from textmill.cli.main import main

if __name__ == "__main__":
    main()
