"""Where the contract lies."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REMEDIES = ROOT / "docs" / "reference" / "remedies.yaml"
PAGE = ROOT / "docs" / "reference" / "errors.md"
