-- Held-out checks by class of cost too, and how far two measurements of one size are apart. A row whose checksum held
-- gets the one of its new columns; a damaged row stays damaged.
ALTER TABLE check_result ADD COLUMN size_class TEXT NOT NULL DEFAULT 'all';
ALTER TABLE check_result ADD COLUMN noise REAL;

UPDATE check_result SET row_sum = row_sum('check_result', id, provenance, device, kind, n, wall_s, mape, median, p90,
        p99, bias, coverage, size_class, noise)
    WHERE row_sum('check_result', id, provenance, device, kind, n, wall_s, mape, median, p90, p99, bias,
        coverage) IS row_sum;

DROP INDEX check_result_key;
CREATE UNIQUE INDEX check_result_key ON check_result (provenance, device, kind, size_class, wall_s);
