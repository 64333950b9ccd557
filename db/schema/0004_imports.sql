-- Imported measurements: shapes with more dimensions, which kernel it was, and the file it came from. A row whose
-- checksum held gets the one of its new columns; a damaged row stays damaged.
ALTER TABLE op_point ADD COLUMN d6 INTEGER NOT NULL DEFAULT 0;
ALTER TABLE op_point ADD COLUMN d7 INTEGER NOT NULL DEFAULT 0;
ALTER TABLE op_point ADD COLUMN kernel TEXT;

UPDATE op_point SET row_sum = row_sum('op_point', id, device, provenance, kind, dtype, degree, busy, d0, d1, d2,
        d3, d4, d5, cost_us, lo_us, hi_us, min_us, q1_us, q3_us, p99_us, mad_us, n_samples, cold, source, stop,
        samples, nodes, d6, d7, kernel)
    WHERE row_sum('op_point', id, device, provenance, kind, dtype, degree, busy, d0, d1, d2, d3, d4, d5, cost_us,
        lo_us, hi_us, min_us, q1_us, q3_us, p99_us, mad_us, n_samples, cold, source, stop, samples, nodes) IS row_sum;

DROP INDEX op_point_key;
CREATE UNIQUE INDEX op_point_key ON op_point (
    device, kind, dtype, degree, busy, d0, d1, d2, d3, d4, d5, nodes, d6, d7);

ALTER TABLE provenance ADD COLUMN origin TEXT;

UPDATE provenance SET row_sum = row_sum('provenance', id, host, device, kernel, software, commit_id, build, clocks,
        wall_s, cores, load, origin)
    WHERE row_sum('provenance', id, host, device, kernel, software, commit_id, build, clocks, wall_s, cores,
        load) IS row_sum;

DROP INDEX provenance_key;
CREATE UNIQUE INDEX provenance_key ON provenance (
    ifnull(host, ''), ifnull(device, ''), ifnull(kernel, ''), ifnull(software, ''), ifnull(commit_id, ''),
    ifnull(build, ''), ifnull(clocks, ''), wall_s, cores, ifnull(load, -1.0), ifnull(origin, ''));
