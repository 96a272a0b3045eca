#include "base/log_recent.h"

#include <string.h>
#include <uv.h>

#include "base/alloc.h"

// As many as fit with 64 octets each; shorter lines there are none.
enum { RECENT_LINES_MAX = SLC_LOG_RECENT_BYTES_MAX / 64 };

typedef struct recent_line {
    slc_log_level level;
    uint32_t bytes; // without the line end
    char *text;     // owned
} recent_line;

static uv_once_t recent_once = UV_ONCE_INIT;
static uv_mutex_t recent_lock; // guards all below
static recent_line recent_lines[RECENT_LINES_MAX];
static uint64_t recent_first = 1, recent_next = 1; // numbers of the oldest and of the line to come
static size_t recent_bytes;

static void recent_setup(void)
{
    int rc = uv_mutex_init(&recent_lock);
    SLC_ASSERT(rc == 0);
}

static recent_line *recent_at(uint64_t number)
{
    return &recent_lines[number % RECENT_LINES_MAX];
}

// @locked
static void recent_forget(void)
{
    recent_line *line = recent_at(recent_first++);
    recent_bytes -= line->bytes;
    slc_free(line->text);
    *line = (recent_line){0};
}

void slc_log_recent_add(slc_log_level level, const char *text, size_t bytes)
{
    if (bytes > 0 && text[bytes - 1] == '\n')
        bytes--;
    uv_once(&recent_once, recent_setup);
    char *copy = slc_strndup(text, bytes);
    uv_mutex_lock(&recent_lock);
    while (recent_first < recent_next && (recent_bytes + bytes > SLC_LOG_RECENT_BYTES_MAX ||
                                          recent_next - recent_first == RECENT_LINES_MAX))
        recent_forget();
    recent_bytes += bytes;
    *recent_at(recent_next++) = (recent_line){level, (uint32_t)bytes, copy};
    uv_mutex_unlock(&recent_lock);
}

uint64_t slc_log_recent(uint32_t count, slc_log_level level, uint64_t after,
                        void (*each)(const char *text, size_t bytes, void *arg), void *arg)
{
    uv_once(&recent_once, recent_setup);
    uv_mutex_lock(&recent_lock);
    uint64_t from = recent_next;
    for (uint32_t found = 0; found < count && from > recent_first && from - 1 > after;)
        found += recent_at(--from)->level >= level;
    for (; from < recent_next; from++) {
        const recent_line *line = recent_at(from);
        if (line->level >= level)
            each(line->text, line->bytes, arg);
    }
    uint64_t newest = recent_next - 1;
    uv_mutex_unlock(&recent_lock);
    return newest;
}
