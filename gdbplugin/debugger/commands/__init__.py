"""The commands, one declaration a file. Being here is all it takes to be registered."""
