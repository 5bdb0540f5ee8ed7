"""Timelines at the prompt, of a stopped kernel and of one that runs."""

from __future__ import annotations

import json
from pathlib import Path

from tests.repl.runner import Runner
from tests.timeline.reading import read


def test_a_running_kernel_is_watched_from_the_prompt(run: Runner, tmp_path: Path) -> None:
    watched, stopped = tmp_path / "watched", tmp_path / "stopped"
    done = run("-c", f"timeline {watched} --seconds=1", "-c", f"timeline {stopped}")
    assert (done.returncode, done.stderr) == (0, "")
    said, other = (part.split() for part in done.stdout.split("Wrote ")[1:])
    assert (said[0], other[0]) == (f"{watched}:", f"{stopped}:")
    # One saw a second pass; at the stop there is one count of each kind, but for the pressure.
    counts = [{track.name: len(track.counts) for track in read(file).tracks} for file in (watched, stopped)]
    assert (counts[0]["stack pages mapped"] > 3, counts[1]["stack pages mapped"]) == (True, 1)


def test_json_and_errors_of_a_watched_timeline(run: Runner, tmp_path: Path) -> None:
    path = tmp_path / "timeline"
    done = run(
        *("--json", "-c", f"*timeline {path} --seconds 0", "-c", f"timeline {path} --seconds x"),
        *("-c", "stats", "-c", f"tinyos timeline {path} --seconds 1"),
    )
    written, mistake, _, stopped = map(json.loads, done.stdout.splitlines())
    assert (written["schema"], written["sources"]) == ("tinyos.timeline/1", ["events", "snapshots"])
    assert written["path"] == str(path)
    assert '"x" is not a number' in mistake["error"]
    assert "the target is stopped, and does nothing to watch: resume it first" in stopped["error"]
