"""Notices: the words of every kind, what a pack may change of them, and by which channels."""

import pytest
from pydantic import ValidationError

from services.kernel.money import Fen
from services.programmes import notices
from services.programmes.schema.collection import MaturityNotice
from services.programmes.schema.loans import LoanRules
from services.programmes.schema.notices import Notices
from services.programmes.schema.values import Open


def rules(**clauses: object) -> LoanRules:
    open_value = Open(open="not stated")
    return LoanRules.model_validate(
        {"benchmark": open_value, "npl": open_value, **clauses}, strict=False
    )


def test_every_text_of_the_platform_is_one_that_a_pack_might_have() -> None:
    texts = [{"id": kind, "zh": zh} for kind, zh in notices.TEXTS.items()]

    assert len(Notices.model_validate({"texts": texts}, strict=False).texts) == len(notices.TEXTS)


def test_a_packs_words_come_before_the_platforms() -> None:
    own = rules(notices={"texts": [{"id": "due_soon", "zh": "还{owed_yuan}元"}]})

    assert notices.text_of(own, "due_soon") == "还{owed_yuan}元"
    assert notices.text_of(own, "due_today") == notices.TEXTS["due_today"]
    assert notices.text_of(None, "birthday") is None
    assert notices.fill(
        "还{owed_yuan}元,{advice}", {"owed_yuan": notices.yuan(Fen(1_234_567))}
    ) == ("还12,345.67元,-")


@pytest.mark.parametrize(
    ("clause", "said"),
    [
        ({"texts": [{"id": "due_soon", "zh": "您好,{name}先生"}]}, "nobody fills in"),
        ({"texts": [{"id": "due_soon", "zh": "您好,{owed_yuan"}]}, "without its other one"),
        ({"channels": ["platform"]}, "borrowers need sms, phone or letter"),
        ({"channels": ["sms", "sms"]}, "sms is named twice"),
        ({"attempts_max": 0}, "greater than or equal to 1"),
    ],
)
def test_a_clause_that_would_tell_nobody_is_refused(clause: object, said: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        Notices.model_validate(clause, strict=False)

    assert said in str(refusal.value)


def test_borrowers_are_told_as_the_clause_of_notices_says_or_else_as_of_a_maturity() -> None:
    told = MaturityNotice.model_validate(
        {"lead_months": 1, "to_borrower": True, "channels": ["phone", "platform"]}, strict=False
    )
    own = rules(maturity_notice=told, notices={"channels": ["sms"], "attempts_max": 7})

    assert notices.channels_of(own) == ("sms",)
    assert notices.channels_of(rules(maturity_notice=told)) == ("phone",)
    assert notices.channels_of(rules()) == notices.channels_of(None) == ()
    assert (notices.attempts_max(own), notices.attempts_max(rules())) == (7, 3)
