#include "core/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "core/clock.h"

/* Between two progress lines; a terminal cannot be read faster. */
#define PROGRESS_NS 100000000

static enum log_level most_wanted = LOG_INFO;
static int my_rank;
static int64_t started_ns;
static int64_t progress_ns;
static bool progress_shown;

static const char *const level_names[] = {"error", "warning", "", "debug"};

void log_setup(enum log_level most, int rank)
{
    most_wanted = most;
    my_rank = rank;
    started_ns = clock_now_ns();
}

static void clear_progress(void)
{
    if (progress_shown)
        fputs("\r\033[K", stderr);
    progress_shown = false;
}

void log_line(enum log_level level, const char *fmt, ...)
{
    if (level > most_wanted)
        return;
    /* One write per line: ranks share the terminal. */
    char text[2048];
    int used = 0;
    if (level == LOG_DEBUG) {
        double s = (double)(clock_now_ns() - started_ns) / 1e9;
        used = snprintf(text, sizeof text, "[%d %9.4f] ", my_rank, s);
    } else if (level != LOG_INFO) {
        used = snprintf(text, sizeof text, "%s: ", level_names[level]);
    }
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(text + used, sizeof text - (size_t)used - 1, fmt, args);
    va_end(args);
    if (len < 0)
        return;
    int end = used + len;
    if (end > (int)sizeof text - 2)
        end = (int)sizeof text - 2;
    text[end] = '\n';
    text[end + 1] = '\0';
    clear_progress();
    fputs(text, stderr);
}

void log_progress(const char *what, int64_t done, int64_t total, double eta_s)
{
    if (most_wanted < LOG_INFO || !isatty(STDERR_FILENO))
        return;
    int64_t now = clock_now_ns();
    if (done >= total) {
        clear_progress();
        progress_ns = 0;
        return;
    }
    if (progress_shown && now - progress_ns < PROGRESS_NS)
        return;
    progress_ns = now;
    progress_shown = true;
    double frac = total > 0 ? (double)done / (double)total : 0;
    if (eta_s >= 0)
        fprintf(stderr, "\r\033[K%s %lld/%lld (%.0f%%), %.0f s left", what, (long long)done,
                (long long)total, 100 * frac, eta_s);
    else
        fprintf(stderr, "\r\033[K%s %lld/%lld (%.0f%%)", what, (long long)done, (long long)total,
                100 * frac);
    fflush(stderr);
}
