"""Distributed data-parallel training: several ranks, one net."""
