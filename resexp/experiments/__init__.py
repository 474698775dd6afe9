"""What is run: arms, depths, seeds."""
