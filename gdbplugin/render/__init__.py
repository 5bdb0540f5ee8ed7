"""The objects as text and as JSON. Pure: it knows their dataclasses and nothing of any debugger.

A view is a module with `text(object, journal, style)`, which ends with a newline, and
`content(object, journal)`, whose keys join `schema`, `findings` and `notes` in the JSON object.
"""
