"""Random networks of every kind, and what holds them against real runs: ``python benchmarks/reliability.py``."""
