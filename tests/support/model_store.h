/** A store in memory with the meaning of <slc/store.h>: the reference for the contract suite, and the store of
 *  simulations (a crash forgets what was not durable).
 *
 *  It has no thread and no loop: what the real store does in the background happens in model_store_step. Appends keep a
 *  reference to the content until then, exactly as the real one does. One shard. Thread: the caller's.
 */
#ifndef SLC_MODEL_STORE_H
#define SLC_MODEL_STORE_H

#include <slc/store.h>

typedef struct model_store model_store;
/** What survives a crash. */
typedef struct model_disk model_disk;

model_disk *model_disk_new(void);
void model_disk_free(model_disk *disk);

/** options.dir, loop and sizes are not used. disk is borrowed until the store is closed or crashed. */
model_store *model_store_open(model_disk *disk, const slc_store_options *options);
slc_err model_store_recover(model_store *store, slc_store_visitor visitor, void *arg,
                            slc_error *error);
uint32_t model_store_queue_new(model_store *store, const slc_uuid *uuid, slc_store_ticket *ticket);
slc_store_ticket model_store_queue_del(model_store *store, uint32_t qid);
slc_store_ticket model_store_append(model_store *store, const slc_store_content *content,
                                    uint64_t ts_ms, uint8_t priority,
                                    const slc_store_target *targets, uint32_t count);
slc_store_ticket model_store_drop(model_store *store, uint32_t qid, uint64_t qseq,
                                  slc_drop_reason reason, bool *cancelled);
slc_store_ticket model_store_drop_range(model_store *store, uint32_t qid, uint64_t first,
                                        uint64_t last, slc_drop_reason reason);
void model_store_atomic_begin(model_store *store);
void model_store_atomic_end(model_store *store);
void model_store_flush(model_store *store);
void model_store_read(model_store *store, uint32_t qid, uint64_t from_qseq, uint32_t count_max,
                      uint64_t bytes_max, slc_store_read_cb cb, void *arg);
void model_store_delivered(model_store *store, uint32_t qid, uint64_t highest_qseq);
/** Finish what was submitted, mark clean, free. done runs inside. */
void model_store_close(model_store *store, void (*done)(void *arg), void *arg);
/** Free without finishing; contents are released. */
void model_store_crash(model_store *store);

/** Let the background make one step: a job finishes, reads are answered. False when there was nothing to do. */
bool model_store_step(model_store *store);

#endif
