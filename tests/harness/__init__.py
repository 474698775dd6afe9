"""What breaks runs on purpose, and compares what is left."""
