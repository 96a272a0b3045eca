/** A world for core that the test owns: a store in memory whose durability the test decides, definitions that are applied
 *  when the test says so, and a client whose callbacks are written down as text.
 *
 *      fake_world *w = fake_world_new();
 *      fake_client *c = fake_client_open(w);
 *      slc_session *s = fake_session(c);            // channel 1, 2, ...
 *      fake_turn(w);                                // what is proposed is applied, what is appended becomes durable
 *      cr_expect(eq(str, fake_take_log(c), "deliver 1 c1 m1; confirm 1"));
 */
#ifndef SLC_TESTS_FAKE_WORLD_H
#define SLC_TESTS_FAKE_WORLD_H

#include "core/broker.h"
#include "core/session.h"

typedef struct fake_world fake_world;
typedef struct fake_client fake_client;

fake_world *fake_world_new(void);
void fake_world_free(fake_world *w);
slc_broker *fake_broker(fake_world *w);
/** Hold back durability: appended messages stay in the open batch (and can be cancelled) until fake_sync. */
void fake_hold_store(fake_world *w, bool hold);
void fake_sync(fake_world *w);
/** Messages of bytes or more get tickets with the mark SLC_TICKET_LARGE, and are on disk with fake_sync_large only. */
void fake_large_from(fake_world *w, uint64_t bytes);
void fake_sync_large(fake_world *w);
uint64_t fake_now_ms(const fake_world *w);
/** The wall clock goes on, then turns run. */
void fake_pass_time(fake_world *w, uint64_t ms);
/** Run turns (applying proposals, and syncing unless held) until nothing changes. */
void fake_turn(fake_world *w);
/** Let time pass, then tick and run turns. */
void fake_advance(fake_world *w, uint64_t ms);
/** A crash and a restart: what was not durable is forgotten. All clients are gone. */
void fake_restart(fake_world *w);
/** The same after an orderly stop: everything is durable, and what was delivered is known. */
void fake_restart_clean(fake_world *w);
/** Live messages of the store that are durable, in all queues. */
uint32_t fake_stored(const fake_world *w);
/** Those of one queue, durable or not, with from <= position < to. */
uint32_t fake_live_between(const fake_world *w, uint32_t qid, uint64_t from, uint64_t to);
uint32_t fake_reads(const fake_world *w); // asked for since the start
uint32_t fake_range_drops(const fake_world *w);
/** Reads stay without an answer until fake_read_answer. A read sees the store as it is when it is executed, at the latest when it is
 *  answered; index counts from the newest, below fake_reads_waiting. */
void fake_hold_reads(fake_world *w, bool hold);
uint32_t fake_reads_waiting(const fake_world *w);
void fake_read_execute(fake_world *w, uint32_t index);
void fake_read_answer(fake_world *w, uint32_t index);
/** Definitions are refused with rc until it is SLC_OK again. */
void fake_refuse_definitions(fake_world *w, slc_err rc);
/** Store that gives damaged answers. */
void fake_damage(fake_world *w, bool damaged);
void fake_damage_at(fake_world *w, uint64_t qseq);    // this position of any queue; 0: none
void fake_lose(fake_world *w, uint64_t qseq);         // without a word to core
void fake_cache_bytes(fake_world *w, uint64_t bytes); // for the next start
/** What the next start begins with, but for what the functions above set. */
slc_broker_options *fake_options(fake_world *w);
/** From the next start on: events and the lines of the log go to exchanges of vhost "/". */
void fake_system_exchanges(fake_world *w);

fake_client *fake_client_open(fake_world *w);
/** Closed in order (sessions first) or lost. */
void fake_client_close(fake_client *c);
slc_session *fake_session(fake_client *c);
/** Everything its sessions were told since the last call; "" when nothing. Valid until the next call. */
const char *fake_take_log(fake_client *c);

/** Short forms; they run turns until the answer is there. rc is returned, the text is in fake_error(). */
slc_err fake_queue(fake_world *w, slc_session *s, const char *name,
                   const char *flags); // d durable x exclusive a auto-delete p passive
slc_err fake_exchange(fake_world *w, slc_session *s, const char *name, const char *type,
                      const char *flags); // d a i p
slc_err fake_bind(fake_world *w, slc_session *s, const char *queue, const char *exchange,
                  const char *key);
slc_err fake_unbind(fake_world *w, slc_session *s, const char *queue, const char *exchange,
                    const char *key);
slc_err fake_queue_delete(fake_world *w, slc_session *s, const char *name);
slc_err fake_publish(slc_session *s, const char *exchange, const char *key, const char *body,
                     const char *flags); // p persistent m mandatory
slc_err fake_consume(slc_session *s, const char *queue, const char *tag,
                     const char *flags); // n no-ack x exclusive
const char *fake_error(void);
/** "body" of the message got, NULL: empty; the tag goes to *tag. */
const char *fake_get(fake_world *w, slc_session *s, const char *queue, bool no_ack, uint64_t *tag);

#endif
