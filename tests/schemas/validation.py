"""The JSON objects of commands held against their schemas in `gdbplugin/schemas`."""

import json
from pathlib import Path

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

DIRECTORY = Path(__file__).resolve().parents[2] / "gdbplugin" / "schemas"


def schemas():
    """Every schema by its file's name."""
    return {path.name: json.loads(path.read_text()) for path in sorted(DIRECTORY.glob("*.json"))}


def file_name(schema):
    """The file of what an object calls its schema: `tinyos.stats-1.json` for `tinyos.stats/1`."""
    return schema.replace("/", "-") + ".json"


def validate(content):
    """Raise the first error of an object that its own schema does not allow."""
    known = schemas()
    registry = Registry().with_resources(
        (name, Resource.from_contents(schema)) for name, schema in known.items()
    )
    validator = Draft202012Validator(known[file_name(content["schema"])], registry=registry)
    error = next(iter(sorted(validator.iter_errors(content), key=lambda error: list(error.path))), None)
    assert error is None, f"{list(error.path)}: {error.message}"
