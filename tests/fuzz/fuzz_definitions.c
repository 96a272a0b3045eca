// A file of definitions imported into an empty broker. What it takes it exports as JSON that an empty broker takes again, and that
// comes out the same.
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "core/definitions_file.h"

typedef struct world {
    slc_broker *broker;
    uint64_t random;
    uint32_t qids;
    // the proposal under way
    slc_env_change *changes;
    uint32_t count;
    void (*done)(slc_err rc, void *arg);
    void *done_arg;
    // the import's outcome
    bool answered;
    slc_err rc;
} world;

static uint64_t world_zero(void *arg)
{
    (void)arg;
    return 0;
}

static void world_random(void *arg, void *out, uint32_t bytes)
{
    world *w = arg;
    for (uint32_t i = 0; i < bytes; i++) {
        w->random = w->random * 6364136223846793005u + 1442695040888963407u;
        ((uint8_t *)out)[i] = (uint8_t)(w->random >> 56);
    }
}

static uint32_t world_queue_new(void *arg, const uint8_t uuid[SLC_UUID_BYTES], uint64_t *ticket)
{
    world *w = arg;
    (void)uuid;
    *ticket = 0;
    return ++w->qids;
}

static uint64_t world_queue_del(void *arg, uint32_t qid)
{
    (void)arg;
    (void)qid;
    return 0;
}

static void world_propose(void *arg, const slc_env_change *changes, uint32_t count,
                          void (*done)(slc_err rc, void *done_arg), void *done_arg)
{
    world *w = arg;
    SLC_ASSERT(w->changes == NULL);
    w->changes = slc_alloc_zero(count, sizeof *changes);
    w->count = count;
    for (uint32_t i = 0; i < count; i++) {
        slc_slice key = changes[i].key, value = changes[i].value;
        SLC_ASSERT(key.bytes > 0);
        w->changes[i].key = slc_slice_of(slc_strndup((const char *)key.data, key.bytes), key.bytes);
        if (value.data == NULL)
            continue;
        uint8_t *copy = slc_alloc(value.bytes + 1);
        memcpy(copy, value.data, value.bytes);
        w->changes[i].value = slc_slice_of(copy, value.bytes);
    }
    w->done = done;
    w->done_arg = done_arg;
}

static void world_turn(world *w)
{
    for (int i = 0; i < 20; i++) {
        slc_broker_turn(w->broker);
        if (w->changes == NULL)
            continue;
        slc_env_change *changes = w->changes;
        w->changes = NULL;
        for (uint32_t k = 0; k < w->count; k++) {
            slc_err rc = slc_broker_apply(w->broker, &changes[k], NULL);
            SLC_ASSERT(rc == SLC_OK);
            slc_free((void *)(uintptr_t)changes[k].key.data);
            slc_free((void *)(uintptr_t)changes[k].value.data);
        }
        slc_free(changes);
        w->done(SLC_OK, w->done_arg);
    }
}

static void world_open(world *w)
{
    slc_broker_options options = {
        .env = {.arg = w,
                .now_ns = world_zero,
                .wall_ms = world_zero,
                .random = world_random,
                .store_queue_new = world_queue_new,
                .store_queue_del = world_queue_del,
                .propose = world_propose},
        .default_vhost = "/",
    };
    *w = (world){.random = 1};
    w->broker = slc_broker_new(&options);
    slc_broker_start(w->broker);
    world_turn(w);
}

static void world_close(world *w)
{
    slc_broker_free(w->broker);
}

static void imported(slc_err rc, const char *report, void *arg)
{
    world *w = arg;
    SLC_ASSERT((rc == SLC_OK) == (report[0] == '\0'));
    w->answered = true;
    w->rc = rc;
}

static slc_err import(world *w, slc_slice text)
{
    json_t *root = NULL;
    slc_error error = {0};
    slc_err rc = slc_definitions_parse(text, &root, &error);
    if (rc != SLC_OK) {
        SLC_ASSERT(error.text[0] != '\0');
        return rc;
    }
    w->answered = false;
    slc_definitions_import(w->broker, root, (slc_slice){0}, imported, w);
    json_decref(root);
    world_turn(w);
    SLC_ASSERT(w->answered);
    return w->rc;
}

static void export(world *w, slc_buffer *out)
{
    slc_definitions_export(w->broker, NULL, "Sluice", "0", out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static bool quiet;
    if (!quiet) { // one line per left-out binding would drown the fuzzer
        slc_log_options options = {.level = SLC_LOG_NONE, .file_level = SLC_LOG_NONE};
        SLC_ASSERT(slc_log_start(&options, NULL) == SLC_OK);
        atexit(slc_log_stop);
        quiet = true;
    }
    world first;
    world_open(&first);
    if (import(&first, slc_slice_of(data, bytes)) == SLC_OK) {
        slc_buffer once = {0}, again = {0}, other = {0};
        export(&first, &once);
        SLC_ASSERT(import(&first, slc_slice_of(data, bytes)) == SLC_OK);
        export(&first, &again);
        SLC_ASSERT(slc_slice_equal(slc_buffer_slice(&once), slc_buffer_slice(&again)));
        world second;
        world_open(&second);
        SLC_ASSERT(import(&second, slc_buffer_slice(&once)) == SLC_OK);
        export(&second, &other);
        // Vhosts are listed in the order in which they were made, which is the file's: the same length is what must hold.
        SLC_ASSERT(other.bytes == once.bytes);
        world_close(&second);
        slc_buffer_fini(&once);
        slc_buffer_fini(&again);
        slc_buffer_fini(&other);
    }
    world_close(&first);
    return 0;
}
