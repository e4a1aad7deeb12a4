"""Every reason that the code can answer is on the page of errors, with a remedy."""

import pytest
import yaml
from google.rpc import code_pb2

from services.kernel import errors
from tests.contract import errors_page, reasons
from tests.contract.places import PAGE, REMEDIES


def test_the_page_is_what_the_code_and_the_remedies_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == errors_page.page(), "stale: run make errors"


def test_a_new_reason_without_a_remedy_is_named() -> None:
    remedies = yaml.safe_load(REMEDIES.read_text(encoding="utf-8"))
    found = dict(reasons.collect())
    found["MOON_TOO_FULL"] = reasons.Reason("MOON_TOO_FULL", {"FAILED_PRECONDITION"}, ["it is"])
    del found["SAME_PERSON"]

    with pytest.raises(errors_page.StaleError) as stale:
        errors_page.rows(found, remedies)

    assert str(stale.value).splitlines() == [
        "MOON_TOO_FULL has no remedy",
        "SAME_PERSON is no reason of the code",
    ]


def test_every_class_of_errors_is_read() -> None:
    classes = {kind.__name__ for kind in errors.LiandongError.__subclasses__()}

    assert set(reasons.CODES) == classes | {errors.invalid_field.__name__}


def test_what_the_protos_promise_the_code_has() -> None:
    found = reasons.collect()
    promised = {
        name: places
        for name, where in reasons.named_by().items()
        if (places := [place for place in where if "/" in place])
    }

    unknown = set(promised) - set(found) - set(code_pb2.Code.keys())

    assert {name: promised[name] for name in unknown} == {}


def test_a_reason_is_found_however_it_is_made() -> None:
    found = reasons.collect()

    # In an error, through a helper, out of a table, put together, and as a single word.
    assert found["SAME_PERSON"].codes == {"FAILED_PRECONDITION", "PERMISSION_DENIED"}
    assert found["MEMBER_ELSEWHERE"].codes == {"FAILED_PRECONDITION"}
    assert found["IDENTITY_CHECKSUM"].messages == ["the check digit is wrong"]
    assert "…_NOT_OPENED" in found
    assert "SANCTIONED" in found
