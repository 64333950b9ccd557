#!/bin/sh
# The report in headless Chromium at two widths, light and dark: no console message, no network request,
# every chart drawn, nothing wider than the window. Leaves screenshots in the output directory.
# usage: browser.sh <program that writes a sample> <output directory> <chromium>
set -eu
sample=$1 out=$2 chromium=${3:-}
case $chromium in
*-NOTFOUND | '') echo "chromium is not installed (apt install chromium)" >&2; exit 77 ;;
esac
here=$(dirname "$0")
rm -rf "$out"
mkdir -p "$out/profile"
"$sample" "$out"
page=$out/report/report.html
if grep -q 'This build has no chart library' "$page"; then
    echo "this build has no chart library (apt install libjs-chart.js, configure again)" >&2
    exit 77
fi

# The page itself for console, network and pictures; a copy with the probe in it for the rest.
{ sed '/<head>/q' "$page"; echo '<script>'; cat "$here/probe.js"; echo '</script>'; sed '1,/<head>/d' "$page"; } \
    >"$out/probed.html"

# A window cannot be as narrow as a telephone, a frame can. It passes the lines of the probe on.
frame() { # frame PAGE WIDTH HEIGHT
    cat <<EOF
<!doctype html><body style="margin:0"><iframe src="$1" style="border:0;width:$2px;height:$3px"></iframe>
<script>addEventListener("message", (e) => {
  document.body.appendChild(document.createElement("pre")).textContent = e.data;
});</script>
EOF
}

browse() { # browse NAME ARGS…: stdout in NAME.out, log in NAME.log
    name=$1
    shift
    timeout 60 "$chromium" --headless --no-sandbox --disable-gpu --hide-scrollbars --no-first-run \
        --disable-background-networking --disable-component-update --disable-sync --disable-extensions \
        --disable-dev-shm-usage --user-data-dir="$out/profile" --enable-logging=stderr --v=0 \
        --host-resolver-rules='MAP * ~NOTFOUND' --virtual-time-budget=5000 "$@" \
        >"$out/$name.out" 2>"$out/$name.log" || { echo "chromium failed:" >&2; tail -5 "$out/$name.log" >&2; exit 1; }
}

failed=0
complain() {
    echo "$*" >&2
    failed=1
}
expect() { # expect RUN NAME VALUE: the line of the probe starts with it
    grep -q "^\(.*>\)\{0,1\}probe: $2 $3\( \|<\|\$\)" "$out/$1.out" ||
        complain "$1: expected $2 $3, found: $(grep -o "probe: $2 .*" "$out/$1.out" || echo nothing)"
}
# Requests that a page made: the browser's own have no origin as initiator.
page_requests() { # page_requests NET_LOG
    grep '"initiator":' "$1" | grep -v '"initiator":"not an origin"' | grep -o '"url":"[^"]*"' || true
}

charts=$(grep -c '<figure class="chart"' "$page")
[ "$charts" -gt 10 ] || complain "only $charts charts in the page"
for width in 1400 400; do
    frame probed.html $width 3000 >"$out/frame$width.html"
    frame report/report.html $width 3000 >"$out/plain$width.html"
    for scheme in light dark; do
        run=w$width-$scheme
        browse $run --window-size=1500,3000 --dump-dom "file://$out/frame$width.html" \
            --blink-settings=preferredColorScheme="$([ $scheme = dark ] && echo 0 || echo 1)"
        expect $run width $width
        expect $run charts "$charts"
        for zero in blank nameless too_wide low_contrast dead_links same_ids requests bad; do
            expect $run $zero 0
        done
        expect $run scrolls_sideways no
    done
    browse plain$width --window-size=$((width < 500 ? 500 : width)),3000 --screenshot="$out/report-$width.png" \
        --log-net-log="$out/net$width.json" --net-log-capture-mode=Everything "file://$out/plain$width.html"
    grep -q CONSOLE "$out/plain$width.log" && complain "console: $(grep CONSOLE "$out/plain$width.log")"
    [ -s "$out/report-$width.png" ] || complain "no screenshot at $width px"
    requests=$(page_requests "$out/net$width.json" | grep -v '"url":"file:' || true)
    [ -z "$requests" ] || complain "requests: $requests"
done

# A page that does fetch and complain must be noticed, or the silence above says nothing.
echo '<!doctype html><body><img src="http://example.invalid/x.png"><script>console.error("seen")</script>' \
    >"$out/control.html"
browse control --log-net-log="$out/net-control.json" --net-log-capture-mode=Everything --dump-dom \
    "file://$out/control.html"
grep -q CONSOLE "$out/control.log" || complain "a console message went unnoticed"
page_requests "$out/net-control.json" | grep -q example.invalid || complain "a request went unnoticed"
echo "$charts charts; screenshots: $out/report-1400.png $out/report-400.png"
exit $failed
