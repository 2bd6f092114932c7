"""The application: everything wired, and what every door offers."""
