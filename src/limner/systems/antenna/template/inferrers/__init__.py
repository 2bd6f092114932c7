"""Your inferrers: plain Python that imports nothing of limner."""
