"""The page of `btl visualize`: the entities of a note, and their neighbours."""
