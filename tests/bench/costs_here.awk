# Table and figures of tests/bench/costs_here from its results: model, workload, plan, round, then predicted and
# measured of throughput, TTFT, TPOT and memory.
function abs(x) { return x < 0 ? -x : x }
function median(list, n,    i, j, t) {
    for (i = 2; i <= n; i++) {
        t = list[i]
        for (j = i - 1; j >= 1 && list[j] > t; j--) list[j + 1] = list[j]
        list[j + 1] = t
    }
    return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
}
# Over the rounds that ran.
function measured(key, f,    r, n, list) {
    for (r = 1; r <= rounds; r++) if ((key, f, r) in value) list[++n] = value[key, f, r]
    return n > 0 ? median(list, n) : 0
}
function put(key, x) { printf "%s\t%.6g\tfraction\n", key, x >>figures }
{
    key = $1 " " $2 " " $3
    if (!(key in group_of)) {
        keys[++n_keys] = key
        group_of[key] = $1 " " $2
        plan_of[key] = $3
    }
    for (f = 1; f <= 4; f++) {
        predicted[key, f] = $(3 + 2 * f)
        value[key, f, $4] = $(4 + 2 * f)
    }
}
END {
    split("throughput ttft tpot memory", names, " ")
    printf "%-38s %8s %8s %7s  %8s %8s %7s  %7s %7s %7s  %7s\n", "plan", "tokens/s", "predict", "error",
        "TTFT ms", "predict", "error", "TPOT ms", "predict", "error", "memory"
    for (i = 1; i <= n_keys; i++) {
        k = keys[i]
        for (f = 1; f <= 4; f++) {
            m[f] = measured(k, f)
            e[f] = m[f] > 0 ? predicted[k, f] / m[f] - 1 : 0
            if (m[f] > 0) { sum[f] += abs(e[f]); n[f]++ }
        }
        printf "%-38s %8.2f %8.2f %+6.1f%%  %8.1f %8.1f %+6.1f%%  %7.2f %7.2f %+6.1f%%  %+6.2f%%\n", k, m[1], predicted[k, 1],
            100 * e[1], m[2] / 1e3, predicted[k, 2] / 1e3, 100 * e[2], m[3] / 1e3, predicted[k, 3] / 1e3, 100 * e[3], 100 * e[4]
        g = group_of[k]
        if (m[1] > best[g]) { best[g] = m[1]; fastest[g] = plan_of[k] }
        if (plan_of[k] == "chosen") mine[g] = m[1]
        lo = hi = ""
        for (r = 1; r <= rounds; r++) if ((k, 1, r) in value) {
            x = value[k, 1, r]
            if (lo == "" || x < lo) lo = x
            if (hi == "" || x > hi) hi = x
        }
        if (m[1] > 0) spread[++n_spread] = (hi - lo) / 2 / m[1]
    }
    for (f = 1; f <= 4; f++) {
        if (n[f] == 0) continue
        printf "mean absolute error of %-12s %6.2f%% over %d plans\n", names[f], 100 * sum[f] / n[f], n[f]
        put("e2e." names[f], sum[f] / n[f])
    }
    worst = 0
    for (g in mine) {
        n_mine++
        regret = 1 - mine[g] / best[g]
        if (regret > worst) worst = regret
        if (regret > 0.02) printf "%s: the choice is %.1f%% behind %s\n", g, 100 * regret, fastest[g]
    }
    printf "worst regret                        %6.2f%% over %d workloads\n", 100 * worst, n_mine
    put("e2e.regret", worst)
    noise = median(spread, n_spread)
    printf "noise                               %6.2f%% (half the spread of a plan's own runs)\n", 100 * noise
    put("e2e.noise", noise)
    printf "e2e.plans\t%d\tcount\n", n_keys >>figures
}
