# Table and figures of tests/bench/loop from its results: model plan round, then predicted and measured of
# throughput, TTFT and TPOT. Rounds above `rounds` hold further runs of the fastest plans, for regret alone; with
# leaders=1 only the list of these is printed.
function abs(x) { return x < 0 ? -x : x }
# Median of list[1..n], which it sorts.
function median(list, n,    i, j, t) {
    for (i = 2; i <= n; i++) {
        t = list[i]
        for (j = i - 1; j >= 1 && list[j] > t; j--) list[j + 1] = list[j]
        list[j + 1] = t
    }
    return n == 0 ? 0 : n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
}
# Measured figure f of a plan: the median over rounds [from, to]. Runs of its twin count for it.
function measured(key, f, from, to,    i, n, list) {
    for (i = from; i <= to; i++) {
        if ((key, f, i) in value) list[++n] = value[key, f, i]
        if ((key in twin) && (twin[key], f, i) in value) list[++n] = value[twin[key], f, i]
    }
    return median(list, n)
}
function error(f, from, to,    i, n, m, list) {
    for (i = 1; i <= n_keys; i++) {
        m = measured(keys[i], f, from, to)
        if (m > 0) list[++n] = abs(predicted[keys[i], f] / m - 1)
    }
    return median(list, n)
}
# The worst over models of how far the chosen plan is behind the fastest.
function regret(from, to,    i, m, best, mine, worst) {
    for (i = 1; i <= n_keys; i++) {
        m = measured(keys[i], 1, from, to)
        if (!(model_of[keys[i]] in best) || m > best[model_of[keys[i]]]) best[model_of[keys[i]]] = m
        if (plan_of[keys[i]] == "chosen") mine[model_of[keys[i]]] = m
    }
    worst = 0
    for (i in best) if ((i in mine) && best[i] > 0 && 1 - mine[i] / best[i] > worst) worst = 1 - mine[i] / best[i]
    return worst
}
function of(what, from, to) { return what == 0 ? regret(from, to) : error(what, from, to) }
BEGIN {
    n_same = split(same, pairs, ",")
    for (i = 1; i < n_same; i++) {
        split(pairs[i], part, " ")
        twin[pairs[i]] = part[1] " chosen"
        twin[part[1] " chosen"] = pairs[i]
    }
}
function figure(name, what, wanted,    r, n, x, all, lo, hi) {
    n = what == 0 ? rounds + more : rounds
    all = of(what, 1, n)
    lo = hi = of(what, 1, 1)
    for (r = 2; r <= n; r++) {
        x = of(what, r, r)
        if (x < lo) lo = x
        if (x > hi) hi = x
    }
    printf "%-18s %6.2f %%   (%.2f to %.2f over %d round%s; wanted: at most %s %%)\n", name, 100 * all, 100 * lo, 100 * hi, n, n == 1 ? "" : "s", 100 * wanted
    printf "    \"%s\": {\"value\": %.6f, \"unit\": \"fraction\", \"lo\": %.6f, \"hi\": %.6f, \"wanted\": %s},\n", name, all, lo, hi, wanted >json
}
function list_leaders(    i, chosen) {
    for (i = 1; i <= n_keys; i++)
        if (plan_of[keys[i]] == "chosen") chosen[model_of[keys[i]]] = measured(keys[i], 1, 1, rounds)
    for (i = 1; i <= n_keys; i++)
        if (plan_of[keys[i]] == "chosen" || (!(keys[i] in twin) && measured(keys[i], 1, 1, rounds) >= 0.95 * chosen[model_of[keys[i]]]))
            print keys[i]
}
{
    key = $1 " " $2
    if (!(key in plan_of)) {
        keys[++n_keys] = key
        model_of[key] = $1
        plan_of[key] = $2
    }
    for (f = 1; f <= 3; f++) {
        predicted[key, f] = $(2 + 2 * f)
        value[key, f, $3] = $(3 + 2 * f)
    }
}
END {
    if (leaders) {
        list_leaders()
        exit
    }
    printf "%-27s %9s %9s %7s %17s  %8s %8s %7s  %8s %8s %7s\n", "", "tokens/s", "", "", "slowest, fastest", "TTFT ms", "", "", "TPOT ms", "", ""
    printf "%-27s %9s %9s %7s %17s  %8s %8s %7s  %8s %8s %7s\n", "plan", "predicted", "measured", "error", "run", "pred.", "meas.", "error", "pred.", "meas.", "error"
    for (i = 1; i <= n_keys; i++) {
        k = keys[i]
        lo = hi = ""
        for (r = 1; r <= rounds; r++) {
            if (!((k, 1, r) in value)) continue
            x = value[k, 1, r]
            if (lo == "" || x < lo) lo = x
            if (hi == "" || x > hi) hi = x
        }
        if (lo != "") list[++n_list] = (hi - lo) / 2 / measured(k, 1, 1, rounds)
        m = measured(k, 1, 1, rounds); t = measured(k, 2, 1, rounds); p = measured(k, 3, 1, rounds)
        printf "%-27s %9.2f %9.2f %+6.1f%% %8.2f %8.2f  %8.0f %8.0f %+6.1f%%  %8.2f %8.2f %+6.1f%%\n", k,
            predicted[k, 1], m, 100 * (predicted[k, 1] / m - 1), lo, hi,
            predicted[k, 2] / 1e3, t / 1e3, 100 * (predicted[k, 2] / t - 1),
            predicted[k, 3] / 1e3, p / 1e3, 100 * (predicted[k, 3] / p - 1)
    }
    gsub(/["\\]/, "", machine)
    printf "{\n  \"name\": \"loop\",\n  \"commit\": \"%s\",\n  \"machine\": \"%s\",\n  \"figures\": {\n", commit, machine >json
    figure("error.throughput", 1, 0.1)
    figure("error.ttft", 2, 0.1)
    figure("error.tpot", 3, 0.1)
    figure("regret", 0, 0.05)
    noise = median(list, n_list)
    printf "%-18s %6.2f %%   (half the spread of a plan's own runs)\n", "noise", 100 * noise
    printf "    \"noise\": {\"value\": %.6f, \"unit\": \"fraction\", \"lo\": %.6f, \"hi\": %.6f},\n", noise, noise, noise >json
    printf "plans              %6d\n", n_keys
    printf "    \"plans\": {\"value\": %d, \"unit\": \"count\", \"lo\": %d, \"hi\": %d, \"wanted\": 14}\n  }\n}\n", n_keys, n_keys, n_keys >json
}
