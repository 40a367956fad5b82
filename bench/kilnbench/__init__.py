"""The comparison of kiln with buildkitd: what bench/run is made of."""
