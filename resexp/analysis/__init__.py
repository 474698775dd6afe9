"""What it means: statistics, theory, words."""
