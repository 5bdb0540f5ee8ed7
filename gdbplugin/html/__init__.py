"""The report as one page of HTML without any other file, made from the objects that the commands show."""
