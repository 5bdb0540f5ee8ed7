"""How a page looks: inline, so that the page needs no other file; light or dark as the reader's system is.

Each meaning has a shape or a place of its own beside its colour.
"""

from __future__ import annotations

CSS = """
:root { color-scheme: light dark; --page: #fff; --text: #1b1f24; --soft: #57606a; --line: #d0d7de;
  --box: #f6f8fa; --link: #0757b8; --main: #2f6fb3; --pale: #dbe7f4; --alarm: #b3261e; --good: #1a6b32; }
@media (prefers-color-scheme: dark) { :root { --page: #14171c; --text: #e4e7eb; --soft: #a3adb8;
  --line: #3a424c; --box: #1d2229; --link: #84b9f5; --main: #6aa5e3; --pale: #263a52; --alarm: #ff8f86;
  --good: #7dce93; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 75rem; background: var(--page); color: var(--text);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .5rem 0; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .6rem; padding-bottom: .2rem;
  border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.2rem 0 .4rem; }
a { color: var(--link); }
p { margin: .5rem 0; }
dl { margin: .6rem 0; }
dl > div { display: grid; grid-template-columns: 9rem 1fr; gap: .2rem .8rem; }
dt { color: var(--soft); }
dd { margin: 0; }
nav ul, ul.keys { display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; padding: 0; list-style: none; }
nav { padding: .2rem 0; }
.scroll { overflow-x: auto; margin: .7rem 0; border: 1px solid var(--line); border-radius: 4px; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; overflow-wrap: normal; }
caption { text-align: left; padding: .4rem .6rem; color: var(--soft); }
th, td { padding: .25rem .6rem; text-align: left; white-space: nowrap; vertical-align: top;
  border-top: 1px solid var(--line); }
th { background: var(--box); }
.n { text-align: right; font-variant-numeric: tabular-nums; }
details { margin: .5rem 0; padding: .3rem .7rem; border: 1px solid var(--line); border-radius: 4px; }
summary { cursor: pointer; font-weight: 600; }
ol.frames { list-style: none; margin: .4rem 0; padding: 0; font-size: .88rem; }
ol.frames li { padding: .1rem 0 .1rem 2.6rem; text-indent: -2.6rem; }
ol.frames .interrupted { font-style: italic; color: var(--soft); }
code { font-family: ui-monospace, monospace; }
figure { margin: .7rem 0; }
figcaption { font-size: .88rem; }
svg { display: block; width: 100%; background: var(--box); }
.axis { display: flex; justify-content: space-between; font-size: .8rem; color: var(--soft); }
.failure, .findings { border: 1px solid var(--line); border-left: .5rem solid var(--alarm);
  padding: .4rem .8rem; margin: .7rem 0; list-style: none; }
.findings li { padding: .15rem 0; }
.notes { padding-left: 1.2rem; color: var(--soft); font-size: .88rem; }
.good { color: var(--good); }
.lack { font-style: italic; color: var(--soft); }
.k-mapped, .k-work, .k-band { fill: var(--main); }
.k-room { fill: var(--pale); }
.k-fault { fill: var(--alarm); }
.k-entry { fill: var(--soft); }
.k-event { fill: var(--text); }
.k-line, .k-most, .k-pointer { fill: none; stroke: var(--main); stroke-width: 2;
  vector-effect: non-scaling-stroke; }
.k-most { stroke: var(--text); stroke-dasharray: 4 3; }
.k-pointer { stroke: var(--alarm); stroke-width: 3; }
.key { display: inline-block; width: 1.4rem; height: .7rem; margin-right: .35rem; border: 0 solid; }
.key.k-mapped, .key.k-work { background: var(--main); }
.key.k-room { background: var(--pale); border: 1px solid var(--line); }
.key.k-fault { background: var(--alarm); }
.key.k-entry { background: var(--soft); }
.key.k-event { background: var(--text); }
.key.k-most { width: 0; height: 1rem; margin: 0 .6rem; border-left: 2px dashed var(--text);
  vertical-align: middle; }
.key.k-pointer { width: 0; height: 1rem; margin: 0 .6rem; border-left: 3px solid var(--alarm);
  vertical-align: middle; }
footer { margin-top: 2.5rem; color: var(--soft); font-size: .85rem; }
@media (max-width: 40rem) { body { padding: .7rem; } dl > div { grid-template-columns: 5.5rem 1fr; } }
"""
