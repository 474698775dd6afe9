"""Records: a run is a folder."""
