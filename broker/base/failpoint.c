#include "base/failpoint.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "base/alloc.h"

typedef enum failpoint_act { ACT_CRASH, ACT_ERROR, ACT_DELAY, ACT_HALF, ACT_HANG } failpoint_act;

typedef struct failpoint_entry {
    char name[64];
    failpoint_act act;
    slc_err rc;        // ACT_ERROR
    uint64_t delay_ms; // ACT_DELAY
    uint64_t first;    // acts at this pass; 0: at each
    bool onwards;      // and at each later one
    uint64_t passes;
} failpoint_entry;

enum { FAILPOINT_ENTRIES_MAX = 32, FAILPOINT_DELAY_MS_MAX = 600000 };

static uv_once_t failpoint_once = UV_ONCE_INIT;
static uv_mutex_t
    failpoint_lock; // guards the plan and its counters; taken last, nothing is called under it
static failpoint_entry failpoint_plan[FAILPOINT_ENTRIES_MAX];
static uint32_t failpoint_count;
static _Atomic bool failpoint_armed; // so that a run without a plan does not touch the lock

static void failpoint_setup(void)
{
    int rc = uv_mutex_init(&failpoint_lock);
    SLC_ASSERT(rc == 0);
}

// The number of an errno name; 0 when there is no such name.
static int failpoint_errno(const char *name)
{
    for (int number = 1; number < 256; number++) {
        const char *known = strerrorname_np(number);
        if (known != NULL && strcmp(known, name) == 0)
            return number;
    }
    return 0;
}

// Digits only, at least one, at most max.
static bool failpoint_number(const char *text, uint64_t max, uint64_t *out)
{
    uint64_t value = 0;
    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return false;
        value = value * 10 + (uint64_t)(*text - '0');
        if (value > max)
            return false;
    }
    *out = value;
    return true;
}

// name=act[:argument][@n[+]]; text is cut into its parts.
static slc_err failpoint_parse(char *text, failpoint_entry *entry, slc_error *error)
{
    char whole[96];
    snprintf(whole, sizeof whole, "%s", text);
    *entry = (failpoint_entry){.first = 1};

    char *act = strchr(text, '=');
    if (act == NULL || act == text || (size_t)(act - text) >= sizeof entry->name)
        goto bad;
    *act++ = '\0';
    memcpy(entry->name, text, strlen(text) + 1);

    char *at = strchr(act, '@');
    if (at != NULL) {
        *at++ = '\0';
        size_t bytes = strlen(at);
        if (bytes > 0 && at[bytes - 1] == '+') {
            entry->onwards = true;
            at[bytes - 1] = '\0';
        }
        if (!failpoint_number(at, UINT64_MAX / 16, &entry->first) || entry->first == 0)
            goto bad;
    }
    char *argument = strchr(act, ':');
    if (argument != NULL)
        *argument++ = '\0';

    if (strcmp(act, "error") == 0 && argument != NULL) {
        int number = failpoint_errno(argument);
        if (number == 0)
            goto bad;
        entry->act = ACT_ERROR;
        entry->rc = slc_err_from_errno(number);
        return SLC_OK;
    }
    if (strcmp(act, "delay") == 0 && argument != NULL) {
        entry->act = ACT_DELAY;
        if (at == NULL)
            entry->first = 0;
        if (failpoint_number(argument, FAILPOINT_DELAY_MS_MAX, &entry->delay_ms))
            return SLC_OK;
        goto bad;
    }
    if (argument != NULL)
        goto bad;
    if (strcmp(act, "crash") == 0)
        entry->act = ACT_CRASH;
    else if (strcmp(act, "half") == 0)
        entry->act = ACT_HALF;
    else if (strcmp(act, "hang") == 0)
        entry->act = ACT_HANG;
    else
        goto bad;
    return SLC_OK;

bad:
    return slc_error_set(
        error, SLC_EINVAL,
        "fail point '%s': want name=crash, name=error:EIO, name=delay:MS, name=half or name=hang, "
        "each with @N or @N+ behind it",
        whole);
}

slc_err slc_failpoint_plan(const char *plan, slc_error *error)
{
    uv_once(&failpoint_once, failpoint_setup);
    failpoint_entry entries[FAILPOINT_ENTRIES_MAX];
    uint32_t count = 0;
    slc_err rc = SLC_OK;
#if !SLC_FAILPOINTS
    if (plan != NULL && *plan != '\0')
        return slc_error_set(error, SLC_ENOTIMPL,
                             "a plan of fail points is set (%s), but this build has none", plan);
#endif
    char *copy = slc_strdup(plan == NULL ? "" : plan);
    char *rest = NULL;
    for (char *text = strtok_r(copy, "; ", &rest); text != NULL;
         text = strtok_r(NULL, "; ", &rest)) {
        if (count == FAILPOINT_ENTRIES_MAX) {
            rc = slc_error_set(error, SLC_EINVAL, "more than %d fail points in one plan",
                               FAILPOINT_ENTRIES_MAX);
            break;
        }
        rc = failpoint_parse(text, &entries[count], error);
        if (rc != SLC_OK)
            break;
        count++;
    }
    slc_free(copy);
    if (rc != SLC_OK)
        return rc;

    uv_mutex_lock(&failpoint_lock);
    memcpy(failpoint_plan, entries, count * sizeof entries[0]);
    failpoint_count = count;
    atomic_store(&failpoint_armed, count > 0);
    uv_mutex_unlock(&failpoint_lock);
    return SLC_OK;
}

slc_err slc_failpoint_init(slc_error *error)
{
    return slc_failpoint_plan(getenv("SLC_FAILPOINT"), error);
}

static void failpoint_sleep(uint64_t ms)
{
    struct timespec left = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
}

bool slc_failpoint_pass(const char *name, slc_err *rc)
{
    if (!atomic_load_explicit(&failpoint_armed, memory_order_acquire))
        return false;
    bool fails = false;
    bool hangs = false;
    uint64_t delay_ms = 0;

    uv_mutex_lock(&failpoint_lock);
    for (uint32_t i = 0; i < failpoint_count; i++) {
        failpoint_entry *entry = &failpoint_plan[i];
        if (strcmp(entry->name, name) != 0)
            continue;
        entry->passes++;
        if (entry->first != 0 && entry->passes != entry->first &&
            !(entry->onwards && entry->passes > entry->first))
            continue;
        switch (entry->act) {
        case ACT_CRASH:
            kill(getpid(), SIGKILL); // never returns; another thread gets no further than this lock
            break;
        case ACT_ERROR:
            fails = true;
            *rc = entry->rc;
            break;
        case ACT_HALF:
            fails = true;
            *rc = SLC_EAGAIN;
            break;
        case ACT_DELAY:
            delay_ms += entry->delay_ms;
            break;
        case ACT_HANG:
            hangs = true;
            break;
        }
    }
    uv_mutex_unlock(&failpoint_lock);

    if (delay_ms > 0)
        failpoint_sleep(delay_ms);
    while (hangs)
        pause();
    return fails;
}

uint64_t slc_failpoint_passes(const char *name)
{
    uint64_t passes = 0;
    uv_once(&failpoint_once, failpoint_setup);
    uv_mutex_lock(&failpoint_lock);
    for (uint32_t i = 0; i < failpoint_count && passes == 0; i++)
        if (strcmp(failpoint_plan[i].name, name) == 0)
            passes = failpoint_plan[i].passes;
    uv_mutex_unlock(&failpoint_lock);
    return passes;
}
