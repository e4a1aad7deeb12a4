"""`python -m tests.excepts [FOLDER ...]`: the clauses that no test reached; one line of figures."""

import shutil
import sys
from pathlib import Path

from tests.excepts import tracing


def main(folders: list[str]) -> int:
    """Print what never ran under these folders, 1 if anything; `--clear` forgets what did."""
    if folders == ["--clear"]:
        shutil.rmtree(tracing.KEPT, ignore_errors=True)
        return 0
    ran, all_of_them, never = tracing.ran(), 0, 0
    for folder in folders or list(tracing.FOLDERS):
        top = tracing.ROOT / folder
        for path in sorted(top.rglob("*.py")) if top.is_dir() else [top]:
            name = str(path.relative_to(tracing.ROOT))
            for line, caught in sorted(tracing.clauses(Path(path))):
                all_of_them += 1
                if (name, line) not in ran:
                    never += 1
                    sys.stdout.write(f"{name}:{line}: except {caught}\n")
    sys.stdout.write(f"excepts: clauses={all_of_them} ran={all_of_them - never} never={never}\n")
    return 1 if never else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
