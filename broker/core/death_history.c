#include "core/death_history.h"

#include <string.h>

#include "base/alloc.h"

enum {
    DEATHS_FEW = 16,
    DEATHS_MAX = 1024, // that are looked at; only a client could make more
};

typedef struct death {
    slc_slice table;
    slc_slice queue, reason;
    int64_t count;
} death;

static slc_slice text_of(slc_slice table, const char *key)
{
    slc_value value;
    if (!slc_table_find(table, slc_slice_str(key), &value) || value.type != SLC_TYPE_LONGSTR)
        return (slc_slice){0};
    return value.bytes;
}

static bool deaths_of(slc_slice headers, slc_table_iter *iter)
{
    slc_value value;
    if (!slc_table_find(headers, slc_slice_str("x-death"), &value) || value.type != SLC_TYPE_ARRAY)
        return false;
    *iter = slc_table_iter_of(value.bytes);
    return true;
}

static death *death_find(death *deaths, uint32_t count, slc_slice queue, slc_slice reason)
{
    for (uint32_t i = 0; i < count; i++) {
        if (slc_slice_equal(deaths[i].queue, queue) && slc_slice_equal(deaths[i].reason, reason))
            return &deaths[i];
    }
    return NULL;
}

static uint32_t deaths_count(slc_slice headers)
{
    slc_table_iter iter;
    slc_value value;
    uint32_t count = 0;
    if (!deaths_of(headers, &iter))
        return 0;
    while (count < DEATHS_MAX && slc_array_next(&iter, &value))
        count++;
    return count;
}

/** The deaths in the header, at most deaths_count of them, those of one queue and reason as one. RabbitMQ before 3.5.1 wrote an entry each time. */
static uint32_t deaths_read(slc_slice headers, death *deaths)
{
    slc_table_iter iter;
    slc_value value;
    uint32_t count = 0;
    if (!deaths_of(headers, &iter))
        return 0;
    while (count < DEATHS_MAX && slc_array_next(&iter, &value)) {
        if (value.type != SLC_TYPE_TABLE)
            continue;
        death d = {.table = value.bytes,
                   .queue = text_of(value.bytes, "queue"),
                   .reason = text_of(value.bytes, "reason"),
                   .count = 1};
        slc_value number;
        if (slc_table_find(value.bytes, slc_slice_str("count"), &number) &&
            slc_value_is_integer(&number))
            d.count = number.integer;
        death *same = death_find(deaths, count, d.queue, d.reason);
        if (same != NULL)
            same->count += d.count;
        else
            deaths[count++] = d;
    }
    return count;
}

/* ---- writing ---- */

static void put_keys(slc_table_builder *b, const slc_death_event *e, slc_slice headers)
{
    slc_value cc, value;
    slc_table_open(b, "routing-keys", SLC_TYPE_ARRAY);
    slc_table_put_longstr(b, NULL, e->key);
    if (!e->key_only && slc_table_find(headers, slc_slice_str("CC"), &cc) &&
        cc.type == SLC_TYPE_ARRAY) {
        slc_table_iter iter = slc_table_iter_of(cc.bytes);
        while (slc_array_next(&iter, &value)) {
            if (value.type == SLC_TYPE_LONGSTR)
                slc_table_put_longstr(b, NULL, value.bytes);
        }
    }
    slc_table_close(b);
}

static void put_new(slc_table_builder *b, const slc_death_event *e, slc_slice headers)
{
    slc_table_open(b, NULL, SLC_TYPE_TABLE);
    if (e->expiration.bytes > 0)
        slc_table_put_longstr(b, "original-expiration", e->expiration);
    slc_table_put_i64(b, "count", 1);
    slc_table_put_text(b, "reason", e->reason);
    slc_table_put_longstr(b, "queue", e->queue);
    slc_table_put_timestamp(b, "time", e->time_s);
    slc_table_put_longstr(b, "exchange", e->exchange);
    put_keys(b, e, headers);
    slc_table_close(b);
}

/** The entry as it was, but for its count. */
static void put_again(slc_table_builder *b, const death *d, int64_t count)
{
    slc_table_iter iter = slc_table_iter_of(d->table);
    slc_slice key;
    slc_value value;
    bool counted = false;
    slc_table_open(b, NULL, SLC_TYPE_TABLE);
    while (slc_table_next(&iter, &key, &value)) {
        if (slc_slice_is(key, "count")) {
            if (!counted)
                slc_table_put_i64(b, "count", count);
            counted = true;
        } else {
            slc_table_put_value(b, key, &value);
        }
    }
    if (!counted)
        slc_table_put_i64(b, "count", count);
    slc_table_close(b);
}

static void put_deaths(slc_table_builder *b, slc_slice headers, bool known,
                       const slc_death_event *e)
{
    death few[DEATHS_FEW];
    uint32_t most = known ? deaths_count(headers) : 0;
    death *deaths = most <= DEATHS_FEW ? few : slc_alloc(most * sizeof *deaths);
    uint32_t count = known ? deaths_read(headers, deaths) : 0;
    death *same = death_find(deaths, count, e->queue, slc_slice_str(e->reason));
    slc_table_open(b, "x-death", SLC_TYPE_ARRAY);
    if (same != NULL)
        put_again(b, same, same->count < INT64_MAX ? same->count + 1 : same->count);
    else
        put_new(b, e, headers);
    for (uint32_t i = 0; i < count; i++) {
        if (&deaths[i] != same)
            put_again(b, &deaths[i], deaths[i].count);
    }
    slc_table_close(b);
    if (deaths != few)
        slc_free(deaths);
}

static const char *const firsts[] = {"x-first-death-reason", "x-first-death-queue",
                                     "x-first-death-exchange"};
static const char *const lasts[] = {"x-last-death-reason", "x-last-death-queue",
                                    "x-last-death-exchange"};

static bool is_one_of(slc_slice key, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (slc_slice_is(key, names[i]))
            return true;
    }
    return false;
}

static void put_three(slc_table_builder *b, const char *const names[3], const slc_death_event *e)
{
    slc_table_put_text(b, names[0], e->reason);
    slc_table_put_longstr(b, names[1], e->queue);
    slc_table_put_longstr(b, names[2], e->exchange);
}

void slc_death_headers(slc_slice headers, bool known, bool without_cc, const slc_death_event *event,
                       slc_buffer *out)
{
    slc_table_builder b = {0};
    slc_table_iter iter = slc_table_iter_of(headers);
    slc_slice key;
    slc_value value;
    // Who counts on the first death finds one that is the broker's own, too.
    bool first_kept = known && slc_table_find(headers, slc_slice_str(firsts[0]), NULL);
    while (slc_table_next(&iter, &key, &value)) {
        bool ours = slc_slice_is(key, "x-death") || is_one_of(key, lasts, 3) ||
                    (!first_kept && is_one_of(key, firsts, 3)) ||
                    (without_cc && slc_slice_is(key, "CC"));
        if (!ours)
            slc_table_put_value(&b, key, &value);
    }
    put_deaths(&b, headers, known, event);
    if (!first_kept)
        put_three(&b, firsts, event);
    put_three(&b, lasts, event);
    slc_slice content = slc_table_builder_content(&b);
    slc_buffer_put(out, content.data, content.bytes);
    slc_table_builder_fini(&b);
}

bool slc_death_is_cycle(slc_slice headers, slc_slice queue)
{
    slc_table_iter iter;
    slc_value value;
    if (!deaths_of(headers, &iter))
        return false;
    while (slc_array_next(&iter, &value)) {
        if (value.type != SLC_TYPE_TABLE)
            continue;
        if (slc_slice_is(text_of(value.bytes, "reason"), "rejected"))
            return false;
        if (slc_slice_equal(text_of(value.bytes, "queue"), queue))
            return true;
    }
    return false;
}
