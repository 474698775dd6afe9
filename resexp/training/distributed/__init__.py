"""Several ranks that train one net: torchrun, DistributedDataParallel."""
