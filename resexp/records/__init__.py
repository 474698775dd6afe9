"""What is kept: a run is a folder."""
