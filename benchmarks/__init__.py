"""Benchmarks against peers, each run in one process per case so that peak memory is that case's own."""
