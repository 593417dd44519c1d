"""What pictures are made of: one list of shapes, which is written as SVG or as TikZ, and SVG as PNG or PDF."""
