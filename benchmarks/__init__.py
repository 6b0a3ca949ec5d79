"""Side-by-side measurements: ``python -m benchmarks [names…]`` from the repository's root."""
