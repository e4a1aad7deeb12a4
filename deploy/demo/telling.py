"""What the day puts into the queue is read: stations and banks take their notices and say so."""

from liandong.loans.v1 import notices_pb2, notices_pb2_grpc

from deploy.demo.counter import BATCH_ITEMS, COUNTY, Counter

LEASE_SECONDS = 3_600
ROUNDS_MAX = 200


class Telling(Counter):
    """An institution's sender, as small as it can be: take, send, report."""

    async def _tell(self) -> None:
        """Everybody reads what is for them, until nothing waits."""
        told = 0
        for role in ("township_station", "lender"):
            for institution_id in self._parties[role]:
                told += await self._tell_one(institution_id)
        self._say(f"notices: {told} read by township stations and banks")

    async def _tell_one(self, institution_id: str) -> int:
        stub = notices_pb2_grpc.NoticesServiceStub
        told = 0
        for number in range(ROUNDS_MAX):
            taking = notices_pb2.TakeNoticesRequest(
                county_code=COUNTY, count_max=BATCH_ITEMS, lease_seconds=LEASE_SECONDS
            )
            batch = await self._command(
                institution_id, stub, "TakeNotices", taking, label=str(number)
            )
            if not batch.notices:
                break
            reporting = notices_pb2.ReportNoticesRequest(
                county_code=COUNTY,
                items=[
                    notices_pb2.NoticeReport(
                        notice_id=notice.notice_id,
                        attempt=notice.attempts,
                        result=notices_pb2.NOTICE_RESULT_DELIVERED,
                    )
                    for notice in batch.notices
                ],
            )
            answer = await self._command(institution_id, stub, "ReportNotices", reporting)
            self._check(answer.verdicts, "a notice's report")
            told += len(batch.notices)
        return told
