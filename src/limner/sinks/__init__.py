"""Where records and results go besides the store: files of several kinds."""
