"""Libraries: named files of molecules, read row by row, and what became of every row."""
