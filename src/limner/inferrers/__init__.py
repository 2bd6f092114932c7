"""Inferrers: whatever answers for a batch of inputs, and the host that runs one beside nothing else."""
