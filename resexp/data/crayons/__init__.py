"""Crayons: the embedded data set, drawn and not downloaded."""
