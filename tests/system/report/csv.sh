#!/bin/sh
# Every CSV file of the report loads into SQLite, with the numbers that the database has.
# usage: csv.sh <program that writes a sample> <output directory> <sqlite3>
set -eu
sample=$1 out=$2 sqlite=${3:-}
case $sqlite in
*-NOTFOUND | '') echo "sqlite3 is not installed (apt install sqlite3)" >&2; exit 77 ;;
esac
rm -rf "$out"
mkdir -p "$out"
"$sample" "$out"
{
    for csv in "$out"/report/*.csv; do
        echo ".import --csv $csv $(basename "$csv" .csv)"
    done
    echo "ATTACH '$out/costs.db' AS db;"
    cat <<'SQL'
.bail on
CREATE TEMP TABLE wrong(what TEXT);
-- Every measured figure of every run, digit by digit.
INSERT INTO wrong SELECT 'run ' || r.id FROM db.run r LEFT JOIN runs c ON CAST(c.run AS INTEGER) = r.id
 WHERE c.run IS NULL OR (r.status = 'done'
   AND (CAST(c.output_tokens_per_s AS REAL) <> r.output_tokens_per_s
     OR CAST(c.ttft_p50_us AS REAL) <> r.ttft_p50_us
     OR CAST(c.tpot_p50_us AS REAL) <> r.tpot_p50_us));
-- Every measured point.
INSERT INTO wrong SELECT 'points: ' || (SELECT count(*) FROM costs) || ' of ' || count(*) FROM db.op_point
 HAVING (SELECT count(*) FROM costs) <> count(*);
INSERT INTO wrong SELECT 'point ' || c.shape FROM costs c
 WHERE NOT EXISTS (SELECT 1 FROM db.op_point p WHERE p.cost_us = CAST(c.cost_us AS REAL)
   AND p.d0 = CAST(c.d0 AS INTEGER) AND p.d1 = CAST(c.d1 AS INTEGER)
   AND p.d2 = CAST(c.d2 AS INTEGER) AND p.degree = CAST(c.degree AS INTEGER));
-- Every request and step of the newest run of each plan.
INSERT INTO wrong SELECT 'request ' || c.request || ' of run ' || c.run FROM requests c
 WHERE NOT EXISTS (SELECT 1 FROM db.run_request q WHERE q.run = CAST(c.run AS INTEGER)
   AND q.request = CAST(c.request AS INTEGER) AND q.finish_ns = CAST(c.finish_ns AS INTEGER)
   AND q.first_token_ns = CAST(c.first_token_ns AS INTEGER));
INSERT INTO wrong SELECT 'step ' || c.step || ' of run ' || c.run FROM steps c
 WHERE NOT EXISTS (SELECT 1 FROM db.run_step s WHERE s.run = CAST(c.run AS INTEGER)
   AND s.step = CAST(c.step AS INTEGER) AND s.start_ns = CAST(c.start_ns AS INTEGER)
   AND s.stage = CAST(c.stage AS INTEGER) AND s.replica = CAST(c.replica AS INTEGER));
INSERT INTO wrong SELECT 'requests: ' || count(*) FROM requests HAVING count(*) < 100;
INSERT INTO wrong SELECT 'text: ' || model FROM predicted
 WHERE model NOT IN ('<b>qwen3-0.6b</b>', 'qwen3-moe-small') OR workload <> 'chat <small>';
SELECT what FROM wrong LIMIT 20;
SELECT count(*) || ' differences' FROM wrong;
SQL
} >"$out/load.sql"
"$sqlite" :memory: <"$out/load.sql" | tee "$out/found"
[ "$(tail -n 1 "$out/found")" = "0 differences" ]
