"""Contract suites and small real servers, shipped to whoever writes a backend, an inferrer or a system."""
