"""Experiments: grids of arms, depths and seeds, planned, carried out and checked."""
