/* progress.c: the clock, and one line that says how far long work has come. */
#include "cli/cli.h"

#include <time.h>
#include <unistd.h>

double cli_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void cli_progress_init(struct cli_progress *progress)
{
    *progress = (struct cli_progress){.on = isatty(STDERR_FILENO),
                                      .start = cli_seconds()};
    progress->shown = progress->start; /* nothing in the first moment */
}

void cli_progress_stage(struct cli_progress *progress, const char *what)
{
    if (!progress->on)
        return;
    progress->shown = cli_seconds();
    fprintf(stderr, "\r%s...\033[K", what);
    fflush(stderr);
}

void cli_progress_show(struct cli_progress *progress, const char *what,
                       double done, double total)
{
    const double now = progress->on ? cli_seconds() : 0;
    if (!progress->on || now - progress->shown < 0.1)
        return;
    progress->shown = now;
    const double seconds = now - progress->start;
    if (total > 0)
        fprintf(stderr, "\r%s %3.0f%%, %.1f s\033[K", what,
                100 * done / total, seconds);
    else
        fprintf(stderr, "\r%s %.0f, %.1f s\033[K", what, done, seconds);
    fflush(stderr);
}

void cli_progress_clear(struct cli_progress *progress)
{
    if (progress->on && progress->shown > progress->start)
        fputs("\r\033[K", stderr);
    progress->shown = progress->start;
}
