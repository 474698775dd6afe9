"""The null GPU: a CUDA runtime without a GPU, under PyTorch's own host code, allocator, graphs and Triton.

`build.py` makes it of `runtime.cpp` and `driver.cpp` for the torch that is installed (x86-64 Linux).
Preloaded, it answers PyTorch's calls, keeps device memory in the host's and counts kernels instead of running
them. Capture, graphs, events and out-of-memory behave, and what CUDA forbids during a capture is refused.

It proves control flow, host syncs, kernels a step, layouts and memory. It proves nothing about values or
times: whatever a kernel should have computed reads as zero.

Settings: NULL_GPUS (how many, default 1), NULL_GPU_CAPABILITY (9.0), NULL_GPU_GIB (80).
"""
