// Whole values under each other's keys: every checksum of their bytes is right, and still none of them is served.
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>
#include <lmdb.h>
#include <slc/store_tools.h>
#include <stdio.h>
#include <stdlib.h>

#include "format.h"
#include "subject.h"

enum { MANY = 1500, LARGE_EACH = 50, KEY_TEXT = 2 * SLC_SEGMENT_KEY_BYTES + 1 };

// Two queues with messages in segments, in the log, and large ones in both; all of them live. Closed.
static void fill(subject *s)
{
    subject_init(s, false);
    s->log_bytes = 100000;
    slc_error error = {0};
    cr_assert(eq(int, subject_open(s, &error), SLC_OK), "%s", error.text);
    uint32_t a = s_queue_new(s, 'a'), b = s_queue_new(s, 'b');
    slc_store_ticket last = 0;
    for (uint64_t i = 1; i <= MANY; i++) {
        slc_store_target targets[] = {{a, i, 0}, {b, i, 0}};
        last = i % LARGE_EACH == 0 ? s_append_many(s, targets, 2, 70000)
                                   : s_append_many(s, targets, 1, i % 900);
        if (i % 100 == 0)
            cr_assert(s_wait(s, last));
    }
    s_settle(s);
    subject_close(s);
}

typedef struct place {
    uint8_t key[SLC_SEGMENT_KEY_BYTES];
    size_t key_bytes;
    char text[KEY_TEXT]; // of the key, hexadecimal
} place;

static MDB_val value_copy(MDB_txn *txn, MDB_dbi dbi, place *p)
{
    MDB_val key = {p->key_bytes, p->key}, value;
    cr_assert(eq(int, mdb_get(txn, dbi, &key, &value), 0));
    void *copy = malloc(value.mv_size);
    memcpy(copy, value.mv_data, value.mv_size);
    return (MDB_val){value.mv_size, copy};
}

// Exchange the values of two keys of a database, neither of them the last one where there are more; or put that of the second
// under both.
static void values_move(const subject *s, const char *name, bool swap, place places[2])
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_cursor *cursor;
    MDB_stat stat;
    MDB_val key, value;
    cr_assert(eq(int, mdb_env_create(&env), 0));
    mdb_env_set_maxdbs(env, 8);
    mdb_env_set_mapsize(env, 1u << 30);
    cr_assert(eq(int, mdb_env_open(env, s->dir, 0, 0600), 0));
    cr_assert(eq(int, mdb_txn_begin(env, NULL, 0, &txn), 0));
    cr_assert(eq(int, mdb_dbi_open(txn, name, 0, &dbi), 0));
    cr_assert(eq(int, mdb_stat(txn, dbi, &stat), 0));
    cr_assert(ge(sz, stat.ms_entries, 2), "%s has %zu entries", name, stat.ms_entries);
    size_t chosen[2] = {stat.ms_entries / 3, stat.ms_entries * 2 / 3};
    cr_assert(eq(int, mdb_cursor_open(txn, dbi, &cursor), 0));
    for (size_t i = 0, found = 0; found < 2; i++) {
        cr_assert(eq(int, mdb_cursor_get(cursor, &key, &value, MDB_NEXT), 0));
        if (i != chosen[found])
            continue;
        place *p = &places[found++];
        p->key_bytes = key.mv_size;
        memcpy(p->key, key.mv_data, key.mv_size);
        for (size_t k = 0; k < key.mv_size; k++)
            snprintf(p->text + 2 * k, 3, "%02x", p->key[k]);
    }
    mdb_cursor_close(cursor);
    MDB_val values[2] = {value_copy(txn, dbi, &places[0]), value_copy(txn, dbi, &places[1])};
    for (int i = 0; i < 1 + swap; i++) {
        key = (MDB_val){places[i].key_bytes, places[i].key};
        cr_assert(eq(int, mdb_put(txn, dbi, &key, &values[1 - i], 0), 0));
    }
    cr_assert(eq(int, mdb_txn_commit(txn), 0));
    mdb_env_close(env);
    free(values[0].mv_data);
    free(values[1].mv_data);
}

typedef struct findings {
    const char *database;
    const place *places;
    uint32_t damages;
    bool named[2];
    uint64_t lost;
} findings;

static void on_damage(const slc_store_damage *damage, void *arg)
{
    findings *f = arg;
    char where[128];
    size_t at = 0;
    for (const char *c = damage->where; *c != 0 && at < sizeof where - 1; c++)
        if (*c != ' ')
            where[at++] = *c;
    where[at] = 0;
    f->damages++;
    f->lost += damage->messages;
    for (int i = 0; i < 2; i++) {
        char want[64];
        snprintf(want, sizeof want, "%s,key%s", f->database, f->places[i].text);
        f->named[i] = f->named[i] || strcmp(where, want) == 0;
    }
}

struct swap_case {
    char database[12];
    bool start_refuses; // else the read of a message does
    char text[64];      // part of the sentence
};

ParameterizedTestParameters(displaced, two_values_that_changed_places_are_found)
{
    static struct swap_case cases[] = {
        {"0000.que", true, "the entry of queue 2 stands under the key of queue 1"},
        {"0000.log", true, "stands under the key of chunk"},
        {"0000.smd", true, "a directory record is damaged"},
        {"0000.seg", false, "a segment is damaged"},
        {"0000.res", false, "stands under the key of chunk"},
    };
    return cr_make_param_array(struct swap_case, cases, sizeof cases / sizeof cases[0]);
}

ParameterizedTest(struct swap_case *c, displaced, two_values_that_changed_places_are_found,
                  .timeout = 60)
{
    static subject s;
    place places[2];
    fill(&s);
    values_move(&s, c->database, true, places);

    slc_error error = {0};
    slc_err rc = subject_open(&s, &error);
    if (!c->start_refuses) {
        cr_assert(eq(int, rc, SLC_OK), "%s", error.text);
        error = s.read_error;
        subject_close(&s);
    } else {
        cr_assert(eq(int, rc, SLC_ECORRUPT), "%s", error.text);
    }
    cr_expect(strstr(error.text, c->text) != NULL, "%s", error.text);
    cr_expect(strstr(error.text, c->database) != NULL, "%s", error.text);

    findings f = {.database = c->database, .places = places};
    slc_store_report report;
    slc_store_tool tool = {.dir = s.dir, .damage = on_damage, .arg = &f};
    cr_assert(eq(int, slc_store_check(&tool, &report, &error), SLC_ECORRUPT), "%s", error.text);
    cr_expect(eq(u32, f.damages, 2));
    cr_expect(f.named[0], "%s, key %s is not named", c->database, places[0].text);
    cr_expect(f.named[1], "%s, key %s is not named", c->database, places[1].text);
    cr_expect(eq(u64, f.lost, 0), "both are whole");

    char kept[256];
    cr_assert(eq(int, slc_store_salvage(&tool, &report, kept, sizeof kept, &error), SLC_OK), "%s",
              error.text);
    tool.damage = NULL;
    cr_assert(eq(int, slc_store_check(&tool, &report, &error), SLC_OK), "%s", error.text);
    s.read_rc = SLC_OK;
    cr_assert(eq(int, subject_open(&s, &error), SLC_OK), "%s", error.text);
    cr_expect(eq(u32, s_recovered_count(&s, 1), MANY));
    cr_expect(eq(u32, s_recovered_count(&s, 2), MANY / LARGE_EACH));
    for (uint32_t i = 0; i < s.message_count; i++) {
        const seen_message *m = &s.messages[i];
        cr_assert(eq(u64, m->m.hash, body_hash(m->m.content_bytes, 1, m->m.qseq)));
    }
    subject_fini(&s);
}

// The other one's entry is gone then, and with it the owner of messages.
Test(displaced, an_entry_that_stands_under_two_keys_is_that_of_one_queue, .timeout = 60)
{
    static subject s;
    place places[2];
    fill(&s);
    values_move(&s, "0000.que", false, places);
    findings f = {.database = "0000.que", .places = places};
    slc_store_report report;
    slc_error error = {0};
    slc_store_tool tool = {.dir = s.dir, .damage = on_damage, .arg = &f};
    cr_assert(eq(int, slc_store_check(&tool, &report, &error), SLC_ECORRUPT), "%s", error.text);
    cr_expect(f.named[0] && !f.named[1]);
    cr_expect(eq(u64, f.lost, MANY));
    char kept[256];
    cr_assert(eq(int, slc_store_salvage(&tool, &report, kept, sizeof kept, &error), SLC_OK), "%s",
              error.text);
    cr_assert(eq(int, subject_open(&s, &error), SLC_OK), "%s", error.text);
    cr_expect(eq(u32, s.queue_count, 1));
    cr_expect(eq(u32, s_recovered_count(&s, 2), MANY / LARGE_EACH));
    subject_fini(&s);
}
