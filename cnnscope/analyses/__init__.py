"""Plain functions from a ModelGraph to a Table; no torch."""
