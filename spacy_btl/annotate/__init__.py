"""Many notes in, entities out: files of any size, in parts that survive a kill."""
