"""What a pipeline found, in the forms in which others read it."""
