"""How fast and how small the engine is, beside `limits`: see benchmarks/README.md."""
