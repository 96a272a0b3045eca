/** A survey: what a store holds and what is wrong with it, as far as its bytes tell. Check reports it, salvage acts on it.
 *
 *      tool_pages.c   the B-trees            tool_survey.c  databases, keys, state, queues
 *      tool_log.c     the log, replayed      tool_segments.c, tool_parts.c  the other places of messages
 *      tool_salvage.c the new file           tool_compact.c the same without free pages
 *
 *  It decides for everything that is damaged what will be kept, so that the sentences of check are what salvage does:
 *  a shard state is computed anew; a queue entry gets its uuid from the log, or as it was found; a directory record
 *  is made from its segment; a segment without readable bytes goes with its record; a chunk without readable bytes is
 *  replaced by an empty one; a message without all of its parts is dropped by a record at the end of the log.
 */
#ifndef SLC_STORE_TOOL_SURVEY_H
#define SLC_STORE_TOOL_SURVEY_H

#include <slc/store_tools.h>

#include "base/map.h"
#include "base/table.h"
#include "store_impl.h"
#include "tool_pages.h"

typedef enum tool_db { DB_ST, DB_LOG, DB_QUE, DB_RES, DB_SEG, DB_SMD, DB_COUNT } tool_db;

typedef struct tool_entry {
    uint64_t qseq, lsn, bytes;
    uint64_t resident_lsn; // 0: inline
    uint32_t resident_parts;
    bool dead;
} tool_entry;

/** A message of a chunk that cannot be read, as far as its bytes tell. */
typedef struct tool_lost {
    uint64_t qseq;
    uint32_t chunk; // index
    bool dead;
} tool_lost;

typedef struct tool_queue {
    uint32_t qid;
    bool known;   // has an entry that can be used
    bool rebuilt; // of which the bytes are made anew
    bool missing; // it has no entry
    bool uuid_from_log;
    char *what; // what is wrong with the entry; NULL: nothing
    slc_queue_value value;
    uint64_t highest; // position seen
    tool_entry *entries;
    uint32_t count, capacity;
    tool_lost *lost;
    uint32_t lost_count, lost_capacity;
    uint32_t segment_from, segment_to; // of shard->segments
    UT_hash_handle hh;
} tool_queue;

typedef struct tool_resident {
    uint64_t qseq, first_lsn, bytes;
    uint32_t parts;
} tool_resident;

typedef struct tool_segment {
    uint32_t qid, count;
    uint64_t first, last, bytes;
    uint8_t *dead; // bits over first..last, made when the first is set
    tool_resident *residents;
    uint32_t resident_count;
    bool has_record, has_value; // the keys are there
    bool record_ok,
        value_ok; // and what they hold can be used; without a look into .seg value_ok is assumed
    bool lost;    // it goes
    bool rebuilt; // its record is made from it
    char *what_record, *what_value;
} tool_segment;

typedef struct tool_chunk {
    uint64_t lsn;
    uint32_t skipped, bytes;
    uint8_t flags;
    bool ok;
    bool stray;        // nothing tells which one it is
    char *what;        // why it is not ok
    uint8_t *copy;     // of its bytes, when it stands under a wrong key; NULL: it is in its place
    uint64_t returned; // drops in it of what is live, as far as it can be read
    bool unread;       // and there is more of it
} tool_chunk;

typedef struct tool_part {
    uint64_t lsn, first_lsn, content_bytes;
    uint32_t index, parts, bytes, data_bytes;
    bool stray;  // nothing tells which one it is
    bool needed; // a live message has it and all of its parts
    bool told;   // what is wrong with it was said
    char *what;  // NULL: it is good
} tool_part;

typedef struct tool_drop {
    uint32_t qid;
    uint64_t qseq;
} tool_drop;

typedef struct tool_shard {
    uint16_t id;
    slc_pages_tree trees[DB_COUNT];
    bool has[DB_COUNT], torn[DB_COUNT]; // torn: some of its pages cannot be read
    slc_shard_state state;
    bool state_rebuilt;
    tool_queue *queues;     // by qid
    tool_segment *segments; // by qid and first
    uint32_t segment_count, segment_capacity;
    tool_chunk *chunks; // by lsn
    uint32_t chunk_count, chunk_capacity;
    tool_part *parts; // by lsn
    uint32_t part_count, part_capacity;
    tool_chunk *moved_chunks; // under wrong keys, while their database is read
    uint32_t moved_chunk_count, moved_chunk_capacity;
    tool_part *moved_parts;
    uint32_t moved_part_count, moved_part_capacity;
    tool_drop *drops; // messages that salvage drops
    uint32_t drop_count, drop_capacity;
    uint64_t end_lsn; // the last one that counts; what is behind was never finished
    uint32_t highest_qid;
} tool_shard;

typedef struct tool_survey {
    const slc_store_tool *tool;
    slc_store_report *report;
    slc_error *error; // gets the first damage
    slc_pages pages;
    bool deep; // with segments and parts
    tool_shard *shards;
    uint32_t shard_count, shard_capacity;
    slc_pages_tree sys;
    bool has_sys, has_format, has_uuid;
    bool newer; // something in it is whole and written by a newer program: not to be salvaged
    uint8_t uuid[16];
    uint32_t format;
} tool_survey;

/** Everything that can be found out of tool->dir/file; damages are reported on the way. An error is what keeps it from being
 *  found out. Free it in either case. */
SLC_MUST_USE slc_err slc_tool_survey(tool_survey *s, const slc_store_tool *tool, const char *file,
                                     bool deep, slc_store_report *report, slc_error *error);
void slc_tool_survey_free(tool_survey *s);

typedef struct tool_damage {
    const tool_shard *shard; // NULL: none
    uint32_t qid;
    uint64_t messages;
    const slc_buffer *positions; // NULL: none
    bool uncounted;              // nobody can tell how many messages are lost with it
    char where[96], what[SLC_ERROR_TEXT_BYTES + 64], means[320];
} tool_damage;
void slc_tool_damage(tool_survey *s, const tool_damage *damage);

/** "17-40, 44": positions come ascending. */
typedef struct tool_ranges {
    slc_buffer text;
    uint64_t first, last, count; // of the range at hand; all
} tool_ranges;
void slc_tool_ranges_add(tool_ranges *r, uint64_t position);
void slc_tool_ranges_end(tool_ranges *r);
void slc_tool_ranges_fini(tool_ranges *r);

tool_queue *slc_tool_queue(tool_shard *shard, uint32_t qid); // NULL: none
tool_queue *slc_tool_queue_make(tool_shard *shard, uint32_t qid);
/** One that should have an entry and has none. */
tool_queue *slc_tool_queue_missing(tool_shard *shard, uint32_t qid);
/** The one whose range has the position, or NULL. */
tool_segment *slc_tool_segment_at(tool_shard *shard, const tool_queue *queue, uint64_t qseq);
static inline bool slc_tool_segment_dead(const tool_segment *segment, uint64_t qseq)
{
    uint64_t bit = qseq - segment->first;
    return segment->dead != NULL && (segment->dead[bit / 8] >> (bit % 8) & 1) != 0;
}
void slc_tool_segment_kill(tool_segment *segment, uint64_t qseq);
/** Which chunk is this? Its key says it; when that is not the number in a chunk that is whole, the chunk is right: its key is
 *  damaged, and *moved true. False: neither tells. */
bool slc_tool_lsn(const tool_shard *shard, const slc_pages_node *node, uint64_t *lsn, bool *moved);
/** The same for segments. */
bool slc_tool_segment_key(const tool_shard *shard, const slc_pages_node *node, uint32_t *qid,
                          uint64_t *first, bool *moved);
void slc_tool_moved(tool_survey *s, const tool_shard *shard, const char *kind,
                    const slc_pages_node *node, const char *right);
char *slc_tool_text(const char *format, ...) SLC_PRINTF(1, 2);

typedef struct tool_reading {
    tool_survey *s;
    tool_shard *shard;
    uint32_t at;     // .st: 1 when the state was there
    uint32_t at_end; // .seg: how many segments have records
} tool_reading;
/** Every entry of a database; each gets the reading. Returns their number; first as in slc_pages_walk. */
uint64_t slc_tool_db_walk(tool_reading *r, tool_db db, bool first, bool keys_only,
                          slc_pages_each each);
const char *slc_tool_hex(slc_slice key, char text[40]);

void slc_tool_segments_read(tool_survey *s, tool_shard *shard);
void slc_tool_segments_report(tool_survey *s, tool_shard *shard);
void slc_tool_log_read(tool_survey *s, tool_shard *shard);   // chunks; where the log ends
void slc_tool_log_replay(tool_survey *s, tool_shard *shard); // what lives
/** Every chunk that slc_tool_log_read found, in the order of their numbers, whatever their keys are. */
typedef void (*slc_tool_chunk_each)(tool_chunk *chunk, slc_slice value, void *arg);
void slc_tool_log_walk(tool_survey *s, tool_shard *shard, slc_tool_chunk_each each, void *arg);
void slc_tool_log_report(tool_survey *s, tool_shard *shard); // damaged chunks
void slc_tool_parts_read(tool_survey *s, tool_shard *shard);
void slc_tool_parts_match(tool_survey *s, tool_shard *shard); // those that live messages need
/** The one with that number; NULL: there is none. */
tool_part *slc_tool_part_at(tool_shard *shard, uint64_t lsn);

enum { TOOL_PATH_BYTES = 4096 };
/** path of file in the store's directory. False: too long. */
bool slc_tool_path(const slc_store_tool *tool, const char *file, char path[TOOL_PATH_BYTES]);
/** Check dir/file, a new form of the store: whole, and with so many messages. */
SLC_MUST_USE slc_err slc_tool_verify(const slc_store_tool *tool, const char *file,
                                     uint64_t messages, slc_error *error);
/** Give dir/file the owner and mode of dir/data.mdb, flush it, and put it in its place in one step. keep: name that the old
 *  file gets; NULL: it goes. */
SLC_MUST_USE slc_err slc_tool_replace(const slc_store_tool *tool, const char *file,
                                      const char *keep, slc_error *error);

#endif
