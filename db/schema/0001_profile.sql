-- What was measured, on what, by whom. Every row carries a checksum over the table's name and all other
-- columns in the order they stand here (row_sum, an SQL function of this program), because SQLite does
-- not notice a flipped bit inside a row. A later migration that adds a column ends with
--   UPDATE t SET row_sum = row_sum('t', all columns);
-- Migrations are never edited after a release.

CREATE TABLE provenance (
    id        INTEGER PRIMARY KEY,
    host      TEXT,
    device    TEXT,             -- as the machine names it: CPU or GPU model
    kernel    TEXT,
    software  TEXT,             -- MPI, BLAS, driver versions
    commit_id TEXT,
    build     TEXT,
    clocks    TEXT,             -- governor and frequency
    wall_s    INTEGER NOT NULL, -- seconds since the epoch
    cores     INTEGER NOT NULL,
    load      REAL,             -- load average at the start
    row_sum   INTEGER NOT NULL
) STRICT;

-- UNIQUE takes NULLs as different, so the key is an expression.
CREATE UNIQUE INDEX provenance_key ON provenance (
    ifnull(host, ''), ifnull(device, ''), ifnull(kernel, ''), ifnull(software, ''),
    ifnull(commit_id, ''), ifnull(build, ''), ifnull(clocks, ''), wall_s, cores, ifnull(load, -1.0));

CREATE TABLE device (
    id      INTEGER PRIMARY KEY,
    name    TEXT NOT NULL UNIQUE, -- device kind of the cluster file
    row_sum INTEGER NOT NULL
) STRICT;

CREATE TABLE op_point (
    id         INTEGER PRIMARY KEY,
    device     INTEGER NOT NULL REFERENCES device (id),
    provenance INTEGER NOT NULL REFERENCES provenance (id),
    kind       TEXT NOT NULL,
    dtype      TEXT NOT NULL,
    degree     INTEGER NOT NULL,
    busy       INTEGER NOT NULL,
    d0         INTEGER NOT NULL,
    d1         INTEGER NOT NULL,
    d2         INTEGER NOT NULL,
    d3         INTEGER NOT NULL,
    d4         INTEGER NOT NULL,
    d5         INTEGER NOT NULL,
    cost_us    REAL NOT NULL,    -- median
    lo_us      REAL,             -- 95 % interval of the median
    hi_us      REAL,
    min_us     REAL,
    q1_us      REAL,
    q3_us      REAL,
    p99_us     REAL,
    mad_us     REAL,
    n_samples  INTEGER NOT NULL,
    cold       INTEGER NOT NULL,
    source     TEXT NOT NULL,    -- measured or imported
    stop       TEXT,             -- why sampling stopped
    samples    BLOB,             -- float64, little-endian, microseconds
    row_sum    INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX op_point_key ON op_point (
    device, kind, dtype, degree, busy, d0, d1, d2, d3, d4, d5);

CREATE TABLE ceiling (
    id               INTEGER PRIMARY KEY,
    device           INTEGER NOT NULL REFERENCES device (id),
    provenance       INTEGER NOT NULL REFERENCES provenance (id),
    degree           INTEGER NOT NULL, -- threads of the rank
    busy             INTEGER NOT NULL, -- ranks of the host that worked at once
    peak_flops       REAL NOT NULL,    -- of one rank
    peak_bytes_per_s REAL NOT NULL,
    row_sum          INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX ceiling_key ON ceiling (device, degree, busy);
