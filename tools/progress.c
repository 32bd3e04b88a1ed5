/* The progress bar. It is redrawn ten times a second at most, so that it never slows the work. One thread. */
#include "tools/progress.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/size.h"
#include "tools/text.h"

#define BAR_WIDTH 24
#define REDRAW    (CLOCK_SECOND / 10)
#define PATIENCE  (2 * CLOCK_SECOND) /* what is over before needs no bar */

void progress_start(struct progress *progress, struct tool *tool, const char *label)
{
    *progress = (struct progress){.tool = tool, .label = label, .start = clock_monotonic()};
}

const char *progress_render(const char *label, uint64_t done, uint64_t total, uint64_t nanoseconds, char *line,
                            size_t size)
{
    char bar[BAR_WIDTH + 1], rate_text[TEXT_SIZE], left_text[TEXT_SIZE] = "";
    double share = total == 0 ? 0 : (double)MIN(done, total) / (double)total;
    double seconds = (double)MAX(nanoseconds, 1) / (double)CLOCK_SECOND;
    size_t filled = (size_t)(share * BAR_WIDTH);
    memset(bar, '.', BAR_WIDTH);
    memset(bar, '#', filled);
    bar[BAR_WIDTH] = '\0';
    if (share > 0) {
        char duration[TEXT_SIZE];
        double left = seconds * (1 - share) / share;
        duration_format((uint64_t)(MIN(left, 1e9) * (double)CLOCK_SECOND), duration, sizeof(duration));
        snprintf(left_text, sizeof(left_text), "  %.40s left", duration);
    }
    size_format((uint64_t)((double)done / seconds), rate_text, sizeof(rate_text));
    snprintf(line, size, "%s [%s] %3.0f %%  %s/s%s", label, bar, share * 100, rate_text, left_text);
    return line;
}

void progress_update(struct progress *progress, uint64_t done, uint64_t total)
{
    char line[256];
    uint64_t now = clock_monotonic();
    if (now - progress->start < PATIENCE || now - progress->shown < REDRAW || !tool_is_watched(progress->tool))
        return;
    progress_render(progress->label, done, total, now - progress->start, line, sizeof(line));
    fprintf(progress->tool->err, "\r\033[K%s", line);
    fflush(progress->tool->err);
    progress->shown = now;
    progress->drawn = true;
}

void progress_clear(struct progress *progress)
{
    if (progress->drawn)
        fputs("\r\033[K", progress->tool->err);
    progress->drawn = false;
    progress->shown = 0;
}
