"""Credit: what is free of a limit, over all lenders."""

from services.credit.model import CreditFile, Exposure, LimitState
from services.kernel.money import Fen


def state_of(file: CreditFile, exposure: Exposure) -> LimitState:
    """
    One limit against what all lenders have lent and promised (S55).

    It is determined once and valid for its months; what is repaid is free again.
    """
    taken = exposure.used_fen + exposure.committed_fen
    return LimitState(
        granted_fen=file.limit_fen,
        used_fen=exposure.used_fen,
        committed_fen=exposure.committed_fen,
        free_fen=Fen(max(0, file.limit_fen - taken)),
        own_used_fen=exposure.own_used_fen,
        grade=file.grade,
        valid_until=file.valid_until,
        exceeded=taken > file.limit_fen,
        granted_on=file.granted_on,
    )
