"""What a user may prefer: `set tinyos …`, `show tinyos`. Being here is all it takes to be registered."""
