"""
Make the font that documents carry: the part of WenQuanYi Micro Hei that Chinese papers need.

Run it by hand, with fonttools 4.63 or later in an environment of its own, after a newer font:
`python deploy/make_font.py PATH/TO/wqy-microhei.ttc`. The same font and version of
fonttools make the same bytes. Nothing of the platform imports it.
"""

# mypy: ignore-errors
# fonttools is nobody's dependency here.

import hashlib
import sys
from pathlib import Path

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTCollection

FONTS = Path(__file__).parents[1] / "gateway" / "documents" / "fonts"
MADE = FONTS / "wqy-microhei-gb2312.ttf"
BEYOND = (
    *range(0x20, 0x7F),
    *range(0xA0, 0x180),
    *range(0x2010, 0x2027),
    *range(0x2030, 0x203C),
    *(0x20AC, 0x2190, 0x2191, 0x2192, 0x2193, 0x2460, 0x25A1, 0x25CF, 0xFFE5),
)
"""Latin letters with their accents, dashes, quotes, arrows and signs of money."""


def gb2312() -> set[int]:
    """Every character of GB 2312: signs, and the hanzi of both levels."""
    cells = (bytes((row, cell)) for row in range(0xA1, 0xF8) for cell in range(0xA1, 0xFF))
    # Cells that hold no character give none.
    return {ord(sign) for each in cells for sign in each.decode("gb2312", errors="ignore")}


def main() -> None:
    """Cut the font and say what came of it."""
    # The collection keeps its times: the same font gives the same bytes.
    font = TTCollection(sys.argv[1], recalcTimestamp=False).fonts[0]
    options = Options()
    options.drop_tables += ["FFTM", "GSUB", "GPOS", "GDEF", "kern", "BASE", "vhea", "vmtx"]
    options.hinting = False
    options.name_IDs = ["*"]
    options.notdef_outline = True
    options.recalc_timestamp = False
    cut = Subsetter(options)
    cut.populate(unicodes=gb2312() | set(BEYOND))
    cut.subset(font)
    font.save(MADE)
    digest = hashlib.sha256(MADE.read_bytes()).hexdigest()
    print(
        f"{MADE.name}: {MADE.stat().st_size} bytes, {len(font.getBestCmap())} characters, {digest}"
    )


if __name__ == "__main__":
    main()
