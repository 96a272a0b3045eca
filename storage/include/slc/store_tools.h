/** What an operator does with a store that nobody has open: look, check, compact, salvage.
 *
 *  Check and the figures read data.mdb by themselves (plain reads, no LMDB, no lock file): they never write, work on a read-only
 *  copy, and a damaged page of the B-tree is a finding instead of a crash. Compact and salvage write a new file
 *  beside, check it, and put it in place with one rename.
 *
 *  The caller makes sure that no process has the store open (broker/app holds LOCK). Thread: any; every call blocks until
 *  it is done. Nothing here needs or makes a slc_store. Callbacks come inside the call.
 */
#ifndef SLC_STORE_TOOLS_H
#define SLC_STORE_TOOLS_H

#include <slc/store.h>

/** One thing that is wrong. Texts are valid during the callback only. */
typedef struct slc_store_damage {
    const char *where; // database and key: "0000.seg, key 00000003 0000000000000011"
    const char *what;  // what is wrong with it
    const char *means; // what it costs, and what salvage does about it
    uint16_t shard;
    uint32_t qid;          // the queue whose messages are lost; 0: none, or more than one
    uint64_t messages;     // live ones that are lost with it
    const char *positions; // theirs, "queue 3: 17-40, 44; queue 5: 8"; "": none, or nobody can tell
} slc_store_damage;

typedef struct slc_store_tool {
    const char *dir;                                                              // of data.mdb
    void (*damage)(const slc_store_damage *damage, void *arg);                    // may be NULL
    void (*progress)(const char *what, uint64_t done, uint64_t total, void *arg); // may be NULL
    void *arg;
} slc_store_tool;

enum { SLC_STORE_TOOL_DATABASES = 64 };

typedef struct slc_store_database {
    char name[16];
    uint64_t entries;
    uint64_t bytes; // of its pages
} slc_store_database;

/** What there is; pages is 0 when nothing could be found out. Messages are live ones; one that waits in three queues counts three times. */
typedef struct slc_store_report {
    uint64_t file_bytes, page_bytes;
    uint64_t pages, pages_used, pages_free; // up to the last one ever used; free: to be used again
    slc_store_database databases[SLC_STORE_TOOL_DATABASES]; // the first of them
    uint32_t database_count;                                // in all
    uint64_t queues, messages, log_messages, segment_messages;
    uint64_t bytes; // of their contents; near enough where a segment lost some of its messages
    uint64_t log_chunks, log_bytes;
    uint64_t segments, segment_bytes; // the latter of contents as they were written
    uint64_t residents, resident_bytes;
    bool clean; // stopped in order
    // check and salvage
    uint64_t damages;
    uint64_t lost;      // live messages that cannot be had any more, as far as they can be counted
    uint64_t uncounted; // of the damages: those that may have cost messages beyond these
    uint64_t
        returned; // drops that are lost, as far as it can be told: so many messages may come back
    uint64_t
        unfinished; // chunks and parts of a batch without end; the next start deletes them; no damage
} slc_store_report;

/** Sizes and counts, without a look into segments and parts. SLC_ECORRUPT: something on the way is damaged; out has what
 *  could be read. */
SLC_MUST_USE slc_err slc_store_figures(const slc_store_tool *tool, slc_store_report *out,
                                       slc_error *error);

/** Everything: each page of the B-trees, each checksum, and all that recovery relies on. SLC_OK: nothing is wrong;
 *  SLC_ECORRUPT: tool->damage was called out->damages times, error has the first; anything else: it could not be checked. */
SLC_MUST_USE slc_err slc_store_check(const slc_store_tool *tool, slc_store_report *out,
                                     slc_error *error);

/** Write the store anew without its free pages. before and after: bytes of the file. A damaged store is refused
 *  (SLC_ECORRUPT). */
SLC_MUST_USE slc_err slc_store_compact(const slc_store_tool *tool, uint64_t *before,
                                       uint64_t *after, slc_error *error);

/** Make a damaged store one that opens: everything that slc_store_check finds undamaged is written into a new file. The old
 *  file is kept beside; kept gets its name (at most kept_room octets). out: what the new one holds; SLC_OK and an
 *  empty kept: nothing was damaged and nothing was done. What will be lost is what slc_store_check says. */
SLC_MUST_USE slc_err slc_store_salvage(const slc_store_tool *tool, slc_store_report *out,
                                       char *kept, size_t kept_room, slc_error *error);

#endif
