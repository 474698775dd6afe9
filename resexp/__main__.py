"""`python -m resexp`: what `resexp` does."""

from resexp.cli import main

main()
