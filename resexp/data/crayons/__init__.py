"""The embedded data set: crayon drawings."""
