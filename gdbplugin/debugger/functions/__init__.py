"""Convenience functions, one declaration a class. Being here is all it takes to be registered."""
