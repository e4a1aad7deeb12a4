"""Invented credit indicators: what a household is praised for, blamed for, barred for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from deploy.demo.people import county, dice


class Standing(StrEnum):
    SOUND = "sound"
    WEAK = "weak"
    VETOED = "vetoed"


# The pilot granted a limit to 82 % of its households.
STANDING_WEIGHTS = {Standing.SOUND: 82, Standing.WEAK: 11, Standing.VETOED: 7}
HONOURED_PCT = 12


@dataclass(frozen=True, slots=True)
class Codes:
    """What the programme scores: deductions are listed mildest first, honours lowest first."""

    additions: tuple[str, ...]
    deductions: tuple[str, ...]
    vetoes: tuple[str, ...]
    honours: tuple[str, ...]

    @classmethod
    def of_points(
        cls, points: Mapping[str, int], *, vetoes: Sequence[str], honours: Sequence[str]
    ) -> "Codes":
        """From the pack's table of code → points, deductions being negative."""
        mildest_first = sorted(points, key=lambda code: (-points[code], code))
        return cls(
            additions=tuple(code for code in mildest_first if points[code] > 0),
            deductions=tuple(code for code in mildest_first if points[code] < 0),
            vetoes=tuple(vetoes),
            honours=tuple(honours),
        )


@dataclass(frozen=True, slots=True)
class HouseholdIndicators:
    household_number: str
    standing: Standing
    adjustments: tuple[str, ...]
    vetoes: tuple[str, ...]
    honour: str | None


def standing(seed: int, household_number: str) -> Standing:
    """Sound households get a grade, weak ones fall below the lowest, vetoed ones are barred."""
    rng = dice(seed, "standing", household_number)
    return rng.choices(tuple(STANDING_WEIGHTS), weights=tuple(STANDING_WEIGHTS.values()))[0]


def indicators(
    seed: int, scale: float, household_number: str, *, codes: Codes
) -> HouseholdIndicators:
    """One household's indicators; weak means every deduction, so the caller's points decide."""
    if not county(seed, scale).has(household_number):
        raise ValueError(f"no household {household_number} in this county")
    rng = dice(seed, "indicators", household_number)
    held = standing(seed, household_number)
    if held is Standing.WEAK:
        return HouseholdIndicators(household_number, held, codes.deductions, (), None)
    count = min(len(codes.additions), rng.choices((0, 1, 2, 3), weights=(35, 35, 20, 10))[0])
    adjustments = tuple(rng.sample(codes.additions, count))
    if adjustments and codes.deductions and rng.random() < 0.3:
        # Beside an addition the mildest deduction still leaves a household its grade.
        adjustments += codes.deductions[:1]
    vetoes: tuple[str, ...] = ()
    honour = None
    if held is Standing.VETOED and codes.vetoes:
        vetoes = (rng.choice(codes.vetoes),)
    elif held is Standing.SOUND and codes.honours and rng.randrange(100) < HONOURED_PCT:
        honour = rng.choice(codes.honours)
    return HouseholdIndicators(household_number, held, adjustments, vetoes, honour)
