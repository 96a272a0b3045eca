#include "base/alloc.h"

#include <execinfo.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ALLOC_LINE_BYTES = 1024, ALLOC_FRAMES_MAX = 48, ALLOC_LINES_BYTES = 128 };

// A line that must reach the operator whatever state the process is in: no stdio, no log thread, no
// allocation.
static void alloc_say(const char *line, int bytes)
{
    size_t left = bytes < 0 ? 0 : bytes < ALLOC_LINE_BYTES ? (size_t)bytes : ALLOC_LINE_BYTES - 1;
    while (left > 0) {
        ssize_t done = write(STDERR_FILENO, line, left);
        if (done <= 0)
            return;
        line += done;
        left -= (size_t)done;
    }
}

static _Noreturn void alloc_exhausted(size_t bytes)
{
    char line[ALLOC_LINE_BYTES];
    alloc_say(line,
              snprintf(line, sizeof line,
                       "fatal: the system has no more memory (%zu bytes were asked for)\n", bytes));
    abort();
}

void *slc_alloc(size_t bytes)
{
    SLC_ASSERT(bytes > 0);
    void *memory = malloc(bytes);
    if (memory == NULL)
        alloc_exhausted(bytes);
    return memory;
}

void *slc_alloc_zero(size_t count, size_t bytes)
{
    SLC_ASSERT(count > 0);
    SLC_ASSERT(bytes > 0);
    SLC_ASSERT(count <= SIZE_MAX / bytes);
    void *memory = calloc(count, bytes);
    if (memory == NULL)
        alloc_exhausted(count * bytes);
    return memory;
}

void *slc_alloc_lines(size_t bytes)
{
    SLC_ASSERT(bytes > 0);
    size_t whole = (bytes + ALLOC_LINES_BYTES - 1) / ALLOC_LINES_BYTES * ALLOC_LINES_BYTES;
    void *memory = aligned_alloc(ALLOC_LINES_BYTES, whole);
    if (memory == NULL)
        alloc_exhausted(whole);
    memset(memory, 0, whole);
    return memory;
}

void *slc_realloc(void *memory, size_t bytes)
{
    SLC_ASSERT(bytes > 0);
    void *grown = realloc(memory, bytes);
    if (grown == NULL)
        alloc_exhausted(bytes);
    return grown;
}

void *slc_try_alloc(size_t bytes)
{
    return malloc(bytes > 0 ? bytes : 1);
}

char *slc_strdup(const char *text)
{
    return slc_strndup(text, strlen(text));
}

char *slc_strndup(const char *text, size_t bytes)
{
    SLC_ASSERT(bytes < SIZE_MAX);
    char *copy = slc_alloc(bytes + 1);
    if (bytes > 0)
        memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    return copy;
}

void slc_free(void *memory)
{
    free(memory);
}

void slc_assert_failed(const char *condition, const char *file, int line)
{
    char text[ALLOC_LINE_BYTES];
    alloc_say(text, snprintf(text, sizeof text, "fatal: assertion failed: %s (%s:%d)\n", condition,
                             file, line));
    void *frames[ALLOC_FRAMES_MAX];
    int count = backtrace(frames, ALLOC_FRAMES_MAX);
    if (count > 1)
        backtrace_symbols_fd(frames + 1, count - 1, STDERR_FILENO);
    abort();
}
