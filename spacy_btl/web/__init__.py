"""The page to look at: a note in, its entities and why they were found."""
