"""Questions about the rows of a list: which, in what order, how many of a kind. Pure."""
