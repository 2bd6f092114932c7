"""Where records come from: folders, tables, lists, streams."""
