"""Programmes: what to do about a problem, beside the rule that says what is wrong."""

import difflib
import re
from collections.abc import Iterable

from services.kernel.values import replace
from services.programmes.yaml_text import Problem

SHOWN_MAX = 12


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that was most likely meant, else what there is to choose from."""
    choice = sorted(set(known))
    close = difflib.get_close_matches(word, choice, n=1)
    if close:
        return f"did you mean {close[0]}?"
    if not choice:
        return "there is none to choose from"
    more = ", …" if len(choice) > SHOWN_MAX else ""
    return f"there are: {', '.join(choice[:SHOWN_MAX])}{more}"


def hinted(problem: Problem) -> Problem:
    """The problem with a hint; one that names what was meant stays."""
    if problem.hint:
        return problem
    for pattern, hint in HINTS:
        if met := pattern.search(problem.rule):
            return replace(problem, hint=met.expand(hint))
    return replace(problem, hint=ANY)


ANY = "`liandong programmes show` prints a whole pack; its JSON Schema says what may stand here"

HINTS = tuple(
    (re.compile(pattern), hint)
    for pattern, hint in (
        (r"weights make (\d+), not 100", r"raise or lower weights until \1 is 100"),
        (r"shares make (\d+)", r"change the shares until \1 is 10 or 100"),
        (r"grades go from low to high", "give each grade a higher min_score_centi than the last"),
        (r"a better grade never has", "give each grade at least the limit_fen of the last"),
        (r"claim tier", "write the tiers from small to large, the last one with max_fen: null"),
        (r"a ratio takes all that is left", "write the pots first and one ratio at the end"),
        (r"the id is given twice|declared twice", "keep one of them, or give one another id"),
        (r"the key is given twice", "keep one of the two; a later one would hide the first"),
        (r"(?:is|given|named|used|names \w+) twice", "keep one of the two"),
        (r"a cycle", "let the oldest of them extend nothing, or a pack outside the circle"),
        (r"overlaps the adoption", "end the earlier one the day before this one begins"),
        (r"already", "keep one of the two files, or change the name"),
        (r"before the pack takes effect on (\S+)", r"begin on \1 or later, or follow an older one"),
        (r"the pack holds only until (\S+)", r"end on \1, and follow the next version from then"),
        (r"(?:to|ends|effective_to).* before", "swap the two days, or leave the end out"),
        (r"say which institution it is", "add a line under parties: this party: an institution_id"),
        (r"no such institution", "add it to institutions.yaml, or correct the id"),
        (r"does not let a county set it", "leave it out; what a county may set is county_may_set"),
        (r"must have another name", "rename the overlay and the refs of the adoption that name it"),
        (r"there is nothing to inherit", "write the value, or extend a pack that has it"),
        (r"payees end with household", "put household last: what is left belongs to it"),
        (r"max is below min", "swap min and max, or leave max out"),
        (r"valid (?:integer|boolean)|is not a whole number", "write it bare, without quotes"),
        (r"valid string", 'put it in quotes: "411224"'),
        (r"valid date|date", "write a day as 2018-03-01"),
        (
            r"valid dictionary|instance of|valid (?:tuple|list|array)",
            "mind the indentation and dashes",
        ),
        (r"greater than|less than|at least|at most", "mind the unit: fen, ppm, centi-points, days"),
        (r"[Ff]ield required", "add the key, or extend a pack that has it"),
        (r"match pattern", "mind the form of codes: small letters, digits and _ ; areas in quotes"),
        (r"not YAML|the file is empty|nested deeper|larger than", "mend the text first"),
        (r"a key is a plain word", "write the key as one plain word"),
        (r"anchors and aliases|the tag", "write the value out"),
        (r"a file has exactly one key|a file is a mapping", "begin with programme: for a pack"),
        (r"not a whole number", "49.5 yuan are 4950 fen, 4.35 % are 43500 ppm"),
        (r"write true, false or null", "true and false, never yes, no, on, off"),
        (
            r"the file of this pack is called (\S+)",
            r"rename the file to \1, or correct id and version",
        ),
        (r"the keys overlay and values", "put every value of the county below values:"),
        (r"a condition changes the sections", "write another version for another header"),
        (r"which is missing", "write it, or leave it {open: reason} for a county to set"),
        (r"bears a loss in two places", "leave each party one place: a pot, a share or a member"),
        (r"reads a factor", "let the veto read an indicator of its own"),
        (r"path is not written", "leave path out: the loader fills it in"),
    )
)
