// What <slc/store.h> promises: for the real store, for the model, and for the real store with a log budget so small that
// its messages move to segments while a test looks at them.
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>

#include "subject.h"

enum { MANY = 3000 };
enum { KIND_REAL, KIND_MODEL, KIND_SMALL_LOG };

#define CONTRACT(name)                                                                             \
    static void contract_##name(subject *s);                                                       \
    ParameterizedTestParameters(contract, name)                                                    \
    {                                                                                              \
        static int kinds[] = {KIND_REAL, KIND_MODEL, KIND_SMALL_LOG};                              \
        return cr_make_param_array(int, kinds, SLC_ARRAY_COUNT(kinds));                            \
    }                                                                                              \
    ParameterizedTest(int *kind, contract, name, .timeout = 60)                                    \
    {                                                                                              \
        subject *s = malloc(sizeof *s);                                                            \
        subject_init(s, *kind == KIND_MODEL);                                                      \
        s->log_bytes = *kind == KIND_SMALL_LOG ? 100000 : 0;                                       \
        slc_error error = {0};                                                                     \
        cr_assert(eq(int, subject_open(s, &error), SLC_OK), "%s", error.text);                     \
        contract_##name(s);                                                                        \
        subject_fini(s);                                                                           \
        cr_expect(eq(u32, s->appends, s->releases), "every content is released once");             \
        free(s);                                                                                   \
    }                                                                                              \
    static void contract_##name(subject *s)

static void reopen(subject *s, bool crash)
{
    if (crash)
        subject_crash(s);
    else
        subject_close(s);
    slc_error error = {0};
    cr_assert(eq(int, subject_open(s, &error), SLC_OK), "%s", error.text);
}

CONTRACT(durable_messages_come_back_byte_for_byte)
{
    uint32_t a = s_queue_new(s, 'a'), b = s_queue_new(s, 'b');
    slc_store_ticket last = 0;
    for (uint64_t i = 1; i <= MANY; i++) {
        s_append(s, a, i, i % 700);
        last = s_append(s, b, i * 3, 16 * (i % 5));
    }
    cr_assert(s_wait(s, last));
    reopen(s, true);
    cr_assert(eq(u32, s->queue_count, 2));
    cr_expect(eq(u64, s->queues[0].next_qseq, MANY + 1));
    cr_expect(eq(u64, s->queues[1].next_qseq, MANY * 3 + 1));
    cr_expect(eq(u8, s->queues[0].uuid.octets[0], 'a'));
    cr_assert(eq(u32, s->message_count, 2 * MANY));
    for (uint32_t i = 0; i < MANY; i++) {
        const seen_message *seen = &s->messages[i];
        cr_assert(eq(u64, seen->m.qseq, i + 1));
        cr_assert(eq(u64, seen->m.content_bytes, (i + 1) % 700));
        cr_assert(eq(u64, seen->m.ts_ms, 1000 + seen->m.qseq));
        cr_assert(eq(u64, seen->m.expires_ms, seen->m.qseq * 7));
        cr_assert(eq(u8, seen->m.priority, seen->m.qseq % 10));
        cr_assert(seen->m.delivered, "after a crash everything may have been delivered");
    }
    uint64_t qseqs[1000];
    for (uint64_t i = 0; i < 1000; i++)
        qseqs[i] = 1 + i * 3;
    s_read(s, a, qseqs, 1000, UINT64_MAX);
    cr_assert(eq(u32, s->read_count, 1000));
    cr_expect(s->read_match);
    s_read(s, b, qseqs + 1, 1, 0);
    cr_expect(eq(u32, s->read_count, 0), "position 4 was never given in b");
}

CONTRACT(what_was_not_durable_may_be_lost_and_what_was_is_not)
{
    uint32_t q = s_queue_new(s, 'q');
    cr_assert(s_wait(s, s_append(s, q, 1, 100)));
    s_append(s, q, 2, 100);
    reopen(s, true);
    cr_expect(s_live(s, q, 1));
    cr_expect(not(s_live(s, q, 2)), "it was never handed over");
}

CONTRACT(drops_survive_in_any_order)
{
    uint32_t q = s_queue_new(s, 'q');
    for (uint64_t i = 1; i <= 1000; i++)
        s_append(s, q, i, 50);
    cr_assert(s_wait(s, s_append(s, q, 1001, 50)));
    slc_store_ticket last = 0;
    for (uint64_t i = 0; i < 1000; i++) {
        uint64_t qseq = 1 + i * 617 % 1000;
        bool cancelled = true;
        if (qseq % 4 != 0) {
            last = s_drop(s, q, qseq, &cancelled);
            cr_assert(not(cancelled));
        }
        if (i % 250 == 0)
            s_flush(s);
    }
    cr_assert(s_wait(s, last));
    reopen(s, true);
    cr_assert(eq(u32, s->message_count, 251));
    for (uint32_t i = 0; i < 250; i++)
        cr_assert(eq(u64, s->messages[i].m.qseq, 4 * (i + 1)));
}

CONTRACT(a_message_settled_in_the_open_batch_never_reaches_the_disk)
{
    uint32_t q = s_queue_new(s, 'q');
    slc_store_ticket ticket = s_append(s, q, 1, 400);
    bool cancelled = false;
    slc_store_ticket dropped = s_drop(s, q, 1, &cancelled);
    cr_expect(cancelled);
    cr_expect(gt(u64, dropped, ticket));
    cr_expect(eq(u32, s->releases, 1), "released inside the drop");
    cr_assert(s_wait(s, dropped));
    s_append(s, q, 2, 10);
    s_append(s, q, 3, 10);
    s_drop(s, q, 3, &cancelled);
    cr_expect(cancelled);
    cr_assert(s_wait(s, s_append(s, q, 4, 10)));
    reopen(s, true);
    cr_assert(eq(u32, s->message_count, 2));
    cr_expect(s_live(s, q, 2));
    cr_expect(s_live(s, q, 4));
}

CONTRACT(a_wholly_cancelled_batch_is_reported_durable)
{
    uint32_t q = s_queue_new(s, 'q');
    cr_assert(s_wait(s, s_append(s, q, 1, 10)));
    for (uint64_t round = 0; round < 50; round++) {
        slc_store_ticket last = 0;
        for (uint64_t i = 0; i < 200; i++)
            s_append(s, q, 2 + round * 200 + i, 900);
        for (uint64_t i = 0; i < 200; i++) {
            bool cancelled = false;
            last = s_drop(s, q, 2 + round * 200 + i, &cancelled);
            cr_assert(cancelled);
        }
        cr_assert(s_wait(s, last));
    }
    reopen(s, true);
    cr_expect(eq(u32, s->message_count, 1));
}

CONTRACT(fan_out_shares_one_content_and_settles_per_queue)
{
    slc_store_target targets[8];
    for (uint8_t i = 0; i < 8; i++)
        targets[i] = (slc_store_target){s_queue_new(s, (uint8_t)('a' + i)), 1, i};
    s_append_many(s, targets, 8, 300);
    bool cancelled = true;
    s_drop(s, targets[3].qid, 1, &cancelled);
    cr_expect(not(cancelled), "seven queues still want it");
    for (uint32_t i = 0; i < 8; i++)
        targets[i].qseq = 2;
    cr_assert(s_wait(s, s_append_many(s, targets, 8, 300)));
    cr_assert(s_wait(s, s_drop(s, targets[5].qid, 2, NULL)));
    for (uint32_t i = 0; i < 8; i++)
        targets[i].qseq = 3;
    s_append_many(s, targets, 8, 20);
    for (uint32_t i = 0; i < 8; i++) {
        s_drop(s, targets[i].qid, 3, &cancelled);
        cr_expect(eq(int, cancelled, i == 7));
    }
    cr_assert(s_wait(s, s_append(s, targets[0].qid, 4, 1)));
    reopen(s, true);
    cr_expect(eq(u32, s->message_count, 15));
    cr_expect(not(s_live(s, targets[3].qid, 1)));
    cr_expect(not(s_live(s, targets[5].qid, 2)));
    cr_expect(s_live(s, targets[5].qid, 1));
    cr_expect(s->queues[7].next_qseq == 3 || s->queues[7].next_qseq == 4);
    s_read(s, targets[0].qid, (uint64_t[]){1, 2, 3, 4}, 4, UINT64_MAX);
    cr_expect(eq(u32, s->read_count, 3));
    cr_expect(s->read_match);
}

CONTRACT(an_atomic_submission_cancels_nothing)
{
    uint32_t q = s_queue_new(s, 'q'), dead = s_queue_new(s, 'd');
    s_append(s, q, 1, 100);
    bool cancelled = true;
    s_atomic(s, true);
    s_append(s, dead, 1, 100);
    s_drop(s, q, 1, &cancelled);
    s_atomic(s, false);
    cr_expect(not(cancelled));
    cr_assert(s_wait(s, s_append(s, q, 2, 1)));
    reopen(s, true);
    cr_expect(not(s_live(s, q, 1)));
    cr_expect(s_live(s, dead, 1));
    cr_expect(s_live(s, q, 2));
}

CONTRACT(an_atomic_submission_is_whole_even_over_many_chunks)
{
    uint32_t q = s_queue_new(s, 'q');
    cr_assert(s_wait(s, s_append(s, q, 1, 10)));
    s_atomic(s, true);
    for (uint64_t i = 0; i < 600; i++)
        s_append(s, q, 2 + i, 10000); // more than one hand-over holds
    s_append(s, q, 700, 100000);
    s_drop(s, q, 1, NULL);
    s_atomic(s, false);
    s_flush(s);
    for (uint32_t i = 0; i < 2; i++)
        s_turn(s);
    bool durable = s->durable >= 603;
    reopen(s, true);
    uint32_t count = s->message_count;
    cr_expect(count == 1 || count == 601, "%u messages", count);
    cr_expect(count == 601 || !durable);
    cr_expect(eq(int, s_live(s, q, 1), count == 1));
}

CONTRACT(a_deleted_queue_is_gone_with_its_messages_and_its_number)
{
    uint32_t a = s_queue_new(s, 'a'), b = s_queue_new(s, 'b');
    slc_store_target both[2] = {{a, 1, 0}, {b, 1, 0}};
    s_append_many(s, both, 2, 200);
    for (uint64_t i = 2; i <= 20000; i++)
        s_append(s, a, i, 20);
    cr_assert(s_wait(s, s_append(s, b, 2, 20)));
    s_append(s, a, 20001, 20);
    slc_store_ticket gone = s_queue_del(s, a);
    cr_assert(s_wait(s, gone));
    s_settle(s);
    s_read(s, a, (uint64_t[]){1}, 1, 1000);
    cr_expect(eq(u32, s->read_count, 0));
    reopen(s, true);
    cr_expect(eq(u32, s->queue_count, 1));
    cr_expect(eq(u32, s->message_count, 2));
    cr_expect(eq(u32, s_queue_new(s, 'c'), 3), "numbers are never used twice");
}

CONTRACT(recovery_deletes_a_queue_that_nobody_knows)
{
    uint32_t a = s_queue_new(s, 'a'), b = s_queue_new(s, 'b');
    s_append(s, a, 1, 10);
    cr_assert(s_wait(s, s_append(s, b, 1, 10)));
    s->unwanted = (slc_uuid){{'a', 1, 2, 3}};
    reopen(s, true);
    cr_expect(eq(u32, s->message_count, 1));
    cr_expect(s_live(s, b, 1));
    cr_assert(s_wait(s, s_append(s, b, 2, 10)));
    s->unwanted = (slc_uuid){{0}};
    reopen(s, true);
    cr_expect(eq(u32, s->queue_count, 1));
    cr_expect(eq(u32, s->message_count, 2));
}

CONTRACT(large_contents_come_back_and_their_drop_survives)
{
    static const uint64_t sizes[] = {16384, 16385, 65455, 65456, 65457, 200000, 5u << 20};
    uint32_t q = s_queue_new(s, 'q');
    slc_store_ticket last = 0;
    for (uint32_t i = 0; i < SLC_ARRAY_COUNT(sizes); i++)
        last = s_append(s, q, i + 1, sizes[i]);
    s_append(s, q, 100, 20u << 20);
    bool cancelled = false;
    s_drop(s, q, 100, &cancelled);
    cr_expect(cancelled);
    uint64_t qseqs[] = {1, 2, 3, 4, 5, 6, 7};
    s_read(s, q, qseqs, 7, UINT64_MAX);
    cr_expect(eq(u32, s->read_count, 7), "found before they are on disk");
    cr_expect(s->read_match);
    cr_assert(s_wait(s, last));
    cr_assert(s_wait(s, s_drop(s, q, 4, NULL)));
    reopen(s, true);
    cr_assert(eq(u32, s->message_count, 6));
    cr_expect(eq(u64, s->messages[5].m.content_bytes, 5u << 20));
    s_read(s, q, qseqs, 7, UINT64_MAX);
    cr_assert(eq(u32, s->read_count, 6));
    cr_expect(s->read_match);
    s_settle(s);
    reopen(s, false);
    s_read(s, q, qseqs, 7, 66000);
    cr_expect(eq(u32, s->read_count, 2), "16384 + 16385 fit, 65455 does not");
    s_read(s, q, qseqs + 6, 1, 1);
    cr_expect(eq(u32, s->read_count, 1), "at least one is read");
    cr_expect(s->read_match);
}

CONTRACT(a_read_leaves_out_what_was_dropped)
{
    uint32_t q = s_queue_new(s, 'q');
    for (uint64_t i = 1; i < 100; i++)
        s_append(s, q, i, 64);
    cr_assert(s_wait(s, s_append(s, q, 100, 64)));
    uint64_t qseqs[100];
    for (uint64_t i = 0; i < 100; i++)
        qseqs[i] = i + 1;
    for (uint64_t i = 1; i <= 100; i += 2)
        s_drop(s, q, i, NULL);
    s_append(s, q, 200, 64);
    s_read(s, q, qseqs, 100, UINT64_MAX);
    cr_assert(eq(u32, s->read_count, 50));
    cr_expect(s->read_match);
    for (uint32_t i = 0; i < 50; i++)
        cr_assert(eq(u64, s->read_qseqs[i], 2 * i + 2));
}

CONTRACT(the_delivered_mark_survives_a_clean_stop_only)
{
    uint32_t q = s_queue_new(s, 'q');
    for (uint64_t i = 1; i <= 10; i++)
        s_append(s, q, i, 5);
    s_delivered(s, q, 4);
    reopen(s, false);
    cr_assert(eq(u32, s->message_count, 10));
    for (uint32_t i = 0; i < 10; i++)
        cr_expect(eq(int, s->messages[i].m.delivered, i < 4));
    reopen(s, true);
    for (uint32_t i = 0; i < 10; i++)
        cr_expect(s->messages[i].m.delivered);
}

CONTRACT(positions_are_not_given_twice_after_a_queue_was_drained)
{
    uint32_t q = s_queue_new(s, 'q'), other = s_queue_new(s, 'o');
    for (uint64_t i = 1; i <= 5000; i++)
        s_append(s, q, i, 100);
    cr_assert(s_wait(s, s_append(s, other, 1, 1)));
    slc_store_ticket last = 0;
    for (uint64_t i = 1; i <= 5000; i++)
        last = s_drop(s, q, i, NULL);
    cr_assert(s_wait(s, last));
    s_settle(s);
    if (!s->model) {
        slc_store_stats stats;
        slc_store_stat(s->real, &stats);
        cr_expect(lt(u64, stats.log_chunks, 5), "dead chunks leave from the front: %lu are left",
                  stats.log_chunks);
    }
    cr_assert(s_wait(s, s_drop(s, other, 1, NULL)));
    s_settle(s);
    reopen(s, true);
    cr_assert(eq(u32, s->queue_count, 2));
    cr_expect(eq(u32, s->message_count, 0));
    cr_expect(eq(u64, s->queues[0].next_qseq, 5001));
    cr_expect(eq(u64, s->queues[1].next_qseq, 2));
}

CONTRACT(closing_finishes_what_was_submitted)
{
    uint32_t q = s_queue_new(s, 'q');
    for (uint64_t i = 1; i <= 20000; i++)
        s_append(s, q, i, 300);
    reopen(s, false);
    cr_expect(eq(u32, s->message_count, 20000));
    s_append(s, q, 30000, 1u << 20);
    s_drop(s, q, 1, NULL);
    reopen(s, false);
    cr_expect(eq(u32, s->message_count, 20000));
}

CONTRACT(a_very_wide_fan_out_is_one_submission)
{
    enum { WIDE = 200 };
    static slc_store_target targets[WIDE * 40];
    uint32_t qids[WIDE];
    for (uint32_t i = 0; i < WIDE; i++)
        qids[i] = s_queue_new(s, (uint8_t)(i + 1));
    // Each queue forty times: more targets than a record holds.
    for (uint32_t i = 0; i < WIDE * 40; i++)
        targets[i] = (slc_store_target){qids[i % WIDE], 1 + i / WIDE, 0};
    cr_assert(s_wait(s, s_append_many(s, targets, WIDE * 40, 77)));
    reopen(s, true);
    cr_expect(eq(u32, s->message_count, WIDE * 40));
    slc_store_ticket last = 0;
    for (uint32_t i = 0; i < WIDE * 40; i++)
        last = s_drop(s, targets[i].qid, targets[i].qseq, NULL);
    cr_assert(s_wait(s, last));
    s_settle(s);
    reopen(s, true);
    cr_expect(eq(u32, s->message_count, 0));
    cr_expect(eq(u64, s->queues[WIDE - 1].next_qseq, 41));
}
