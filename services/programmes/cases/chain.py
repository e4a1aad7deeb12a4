"""Cases: a case that goes through more than one family."""

from collections.abc import Callable, Mapping

from services.programmes.cases.funds import loss_waterfall
from services.programmes.cases.settlement import payouts
from services.programmes.cases.values import Case


def claim_to_compensation(given: Case) -> Case:
    settled = payouts(given)
    left = next(
        each for each in settled["remaining"] if each["creditor"] == given["compensated_creditor"]
    )
    loss_fen = left["principal_fen"] + left["interest_fen"]
    shared = loss_waterfall({"loss_fen": loss_fen, "layers": given["layers"]})
    return {"settlement": settled, "loss_fen": loss_fen, "waterfall": shared}


RULES: Mapping[str, Callable[[Case], Case]] = {
    "chain.claim_to_compensation": claim_to_compensation,
}
