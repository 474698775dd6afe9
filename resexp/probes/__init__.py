"""Probes: what is measured of a net between steps."""
