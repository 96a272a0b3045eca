// Lines of the log on their way to the loop.
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/log_lines.h"
#include "base/alloc.h"
#include "base/log.h"

TestSuite(log_lines, .timeout = 60);

static char path[64];

/** The log writes to a file and gives lines from warning up to whoever asked. */
static void log_open(void)
{
    snprintf(path, sizeof path, "log-lines-XXXXXX");
    int fd = mkstemp(path);
    cr_assert(ge(int, fd, 0));
    close(fd);
    slc_error error = {0};
    cr_assert(eq(int,
                 slc_log_start(&(slc_log_options){.level = SLC_LOG_NONE,
                                                  .file = path,
                                                  .file_level = SLC_LOG_INFO,
                                                  .lines = true,
                                                  .line_level = SLC_LOG_WARN},
                               &error),
                 SLC_OK),
              "%s", error.text);
}

/** Everything is written, and given. */
static const char *log_close(void)
{
    static char text[4 << 20];
    slc_log_stop();
    FILE *file = fopen(path, "r");
    cr_assert(ne(ptr, file, NULL));
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    unlink(path);
    return text;
}

typedef struct seen {
    uint32_t count;
    char last[256];
} seen;

static void on_seen(const slc_log_line *line, void *arg)
{
    seen *s = arg;
    s->count++;
    snprintf(s->last, sizeof s->last, "%s %.*s", slc_log_level_name(line->level), (int)line->bytes,
             line->text);
}

Test(log_lines, those_of_the_level_that_are_not_muted)
{
    seen s = {0};
    log_open();
    slc_log_lines(on_seen, &s);
    slc_log(SLC_LOG_INFO, "audit", "a", SLC_NO_FIELDS, "too little");
    slc_log(SLC_LOG_WARN, "audit", "a", SLC_NO_FIELDS, "this one");
    slc_log_mute(true);
    slc_log(SLC_LOG_ERROR, "audit", "a", SLC_NO_FIELDS, "about a line");
    slc_log_mute(false);
    const char *text = log_close();
    cr_expect(eq(u32, s.count, 1));
    cr_expect(ne(ptr, strstr(s.last, "warning "), NULL));
    cr_expect(ne(ptr, strstr(s.last, "this one\n"), NULL));
    cr_expect(ne(ptr, strstr(text, "about a line"), NULL)); // it is in the file
    slc_log_lines(NULL, NULL);
}

Test(log_lines, what_does_not_fit_is_dropped_counted_and_said)
{
    uv_loop_t loop;
    cr_assert(eq(int, uv_loop_init(&loop), 0));
    log_open();
    slc_broker *broker =
        slc_broker_new(&(slc_broker_options){.default_vhost = "/"}); // takes no lines
    slc_log_lines_box box;
    slc_error error = {0};
    cr_assert(eq(int, slc_log_lines_open(&box, &loop, broker, &error), SLC_OK), "%s", error.text);

    // The loop does not run. The ring of the log holds as much as the box; wait until the writer has taken what is in it.
    enum { LINES = 1200 };
    char filler[1500];
    memset(filler, 'x', sizeof filler - 1);
    filler[sizeof filler - 1] = 0;
    for (uint32_t i = 0; i < LINES; i++)
        slc_log(SLC_LOG_WARN, "audit", "fill", SLC_NO_FIELDS, "%s", filler);
    while (atomic_load(&box.dropped) == 0)
        slc_log(SLC_LOG_WARN, "audit", "fill", SLC_NO_FIELDS, "%s", filler);
    cr_expect(le(u64, atomic_load(&box.bytes), (uint64_t)SLC_LOG_LINES_BYTES_MAX));

    slc_mailbox_drain(&box.mailbox);
    cr_expect(gt(u64, box.told, 0));
    slc_log_lines_close(&box);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_expect(eq(u64, atomic_load(&box.bytes), 0));
    cr_expect(eq(int, uv_loop_close(&loop), 0));
    slc_broker_free(broker);
    const char *text = log_close();
    cr_expect(ne(ptr, strstr(text, "were not published to amq.rabbitmq.log"), NULL));
}

Test(log_lines, closing_what_never_opened_is_fine)
{
    slc_log_lines_box box = {0};
    slc_log_lines_close(&box);
}
