"""A county of many households that were rated under a programme's first version, made in SQL."""

from datetime import date

from services.programmes.loader import Catalogue, load_texts
from tests.servers import Schema

COUNTY = "990101"
RATED_ON = date(2021, 1, 4)
RESCORED_ON = date(2021, 6, 1)
POINTS = (500, 400, 300, 200, 200, -300, -500, -1000)
"""Of the indicators `item_1` to `item_8`."""
POINTS_NEXT = (100, *POINTS[1:])
"""The same under the second version."""
VETOES = ("arrears", "dishonesty")
CODES = (*(f"item_{place}" for place in range(1, len(POINTS) + 1)), *VETOES)

PACK = f"""
programme:
  id: many
  version: "1"
  effective_from: 2020-01-01
  title: {{zh: 众多, en: Many}}
scoring:
  type: base_points
  scheme: many
  base_points_centi: 10000
  adjustments:
    - {{id: item_1, points_centi: {POINTS[0]}}}
    - {{id: item_2, points_centi: {POINTS[1]}}}
    - {{id: item_3, points_centi: {POINTS[2]}}}
    - {{id: item_4, points_centi: {POINTS[3]}}}
    - {{id: item_5, points_centi: {POINTS[4]}}}
    - {{id: item_6, points_centi: {POINTS[5]}}}
    - {{id: item_7, points_centi: {POINTS[6]}}}
    - {{id: item_8, points_centi: {POINTS[7]}}}
  vetoes: [{{id: arrears}}, {{id: dishonesty}}]
  grades:
    - {{id: A, min_score_centi: 9000, limit_fen: 5000000}}
    - {{id: AA, min_score_centi: 10500, limit_fen: 10000000}}
    - {{id: AAA, min_score_centi: 11200, limit_fen: 15000000}}
  min_grade: A
  limit_validity_months: 36
"""

# One item in eight counts less: a part of the households changes score, a part of those grade.
PACK_NEXT = f"""
programme:
  id: many
  version: "2"
  extends: many@1
  supersedes: many@1
  effective_from: 2021-06-01
  title: {{zh: 众多二, en: Many two}}
scoring:
  adjustments:
    - {{id: item_1, points_centi: {POINTS_NEXT[0]}}}
"""

ADOPTION = """
adoption:
  county: "990101"
  entries:
    - {programme: many@1, from: 2020-01-01, parties: {}}
"""
ADOPTION_NEXT = """
adoption:
  county: "990101"
  entries:
    - {programme: many@1, from: 2020-01-01, to: 2021-05-31, parties: {}}
    - {programme: many@2, from: 2021-06-01, parties: {}}
"""
FILES = {"many@1.yaml": PACK, "adoption.yaml": ADOPTION}
FILES_NEXT = {"many@1.yaml": PACK, "many@2.yaml": PACK_NEXT, "adoption.yaml": ADOPTION_NEXT}


def a_catalogue(*, changed: bool) -> Catalogue:
    return load_texts(FILES_NEXT if changed else FILES)


# Each household has each item or has it not, by bits of a hash of its number: a fixed county.
_INDICATORS = """
INSERT INTO indicator (county_code, household_id, code, value, observed_on, source_id, person_id)
SELECT $1, ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, code,
       CASE WHEN place <= 8 THEN (hashint8(n * 16 + place) & 7 < 3)::int
            ELSE (hashint8(n * 16 + place) & 63 = 0)::int END,
       $2, 'cfc-1', 'cfc-1-p1'
FROM generate_series(1, $3::bigint) AS n,
     unnest($4::text[]) WITH ORDINALITY AS c (code, place)
ORDER BY n, place
"""
_RATINGS = """
WITH scored AS (
    SELECT i.household_id,
           10000 + coalesce(sum(p.points) FILTER (WHERE i.value = 1), 0) AS score,
           array_agg(i.code ORDER BY i.code) FILTER (WHERE p.points IS NULL AND i.value = 1)
               AS vetoes,
           jsonb_object_agg(i.code, jsonb_build_object(
               'value', i.value, 'observed_on', i.observed_on, 'entry', i.entry)) AS inputs
    FROM indicator AS i
    LEFT JOIN unnest($2::bigint[]) WITH ORDINALITY AS p (points, place)
              ON i.code = 'item_' || p.place
    WHERE i.county_code = $1 GROUP BY i.household_id
), graded AS (
    SELECT *, CASE WHEN vetoes IS NOT NULL OR score < 9000 THEN ''
                   WHEN score >= 11200 THEN 'AAA' WHEN score >= 10500 THEN 'AA' ELSE 'A' END
              AS grade
    FROM scored
)
INSERT INTO rating (county_code, rating_id, household_id, cause, programme, rated_on, inputs,
                    honour, score_centi, grade, vetoes, base_limit_fen, uplift_fen, limit_fen,
                    valid_until, working)
SELECT $1, household_id, household_id, 'rated', 'many@1', $3, inputs, '', score, grade,
       coalesce(vetoes, '{}'), l, 0, l, CASE WHEN l > 0 THEN $3::date + interval '3 years' END, ''
FROM graded, LATERAL (SELECT CASE grade WHEN 'AAA' THEN 15000000 WHEN 'AA' THEN 10000000
                                        WHEN 'A' THEN 5000000 ELSE 0 END) AS g (l)
"""
_FILES = """
INSERT INTO credit_file (county_code, household_id, area_code, household_status, honour, version,
                         rating_id, programme, score_centi, grade, vetoes, barred, limit_fen,
                         valid_until, granted_on)
SELECT county_code, household_id,
       $1 || lpad((row_number() OVER (ORDER BY household_id) % $2::bigint)::text, 6, '0'),
       'registered_poor', '', CASE WHEN limit_fen > 0 THEN 2 ELSE 1 END, rating_id, programme,
       score_centi, grade, vetoes, vetoes, limit_fen, valid_until,
       CASE WHEN limit_fen > 0 THEN rated_on END
FROM rating WHERE county_code = $1
"""


async def seed(
    schema: Schema, households: int, *, today: date = RESCORED_ON, villages: int = 300
) -> None:
    """Observe and rate that many households, in a county whose business date is given."""
    await schema.ask(_INDICATORS, COUNTY, RATED_ON, households, list(CODES))
    await schema.ask(_RATINGS, COUNTY, list(POINTS), RATED_ON)
    await schema.ask(_FILES, COUNTY, villages)
    await schema.ask(
        "INSERT INTO business_day (county_code, business_date) VALUES ($1, $2)", COUNTY, today
    )
    await schema.ask("VACUUM ANALYZE credit_file")
    await schema.ask("VACUUM ANALYZE indicator")
    await schema.ask("VACUUM ANALYZE rating")
