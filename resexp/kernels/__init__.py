"""Kernels of our own for the GPU, each beside the plain operation it stands for."""
