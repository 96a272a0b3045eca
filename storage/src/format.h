/** The bytes of the store on disk: chunks, records, state and queue values. Pure functions, no I/O; storage/FORMAT.md
 *  is the description for readers of the files.
 *
 *  A value is checked against the place where it stands: its checksum is seeded with the number of the shard, and it, or
 *  its checksum, has its key in it. What stands in another shard or under another key is found as if it were damaged.
 *
 *  Integers in values are little-endian, in keys big-endian. A decoder trusts nothing: it checks every length.
 *  Thread: any.
 */
#ifndef SLC_STORE_FORMAT_H
#define SLC_STORE_FORMAT_H

#include <endian.h>
#include <slc/store.h>

enum {
    SLC_FORMAT_VERSION = 2,

    SLC_CHUNK_VALUE_MAX = 65520, // with LMDB's 16-byte page header exactly 16 pages
    SLC_CHUNK_HEAD_BYTES = 40,
    SLC_CHUNK_BODY_MAX = SLC_CHUNK_VALUE_MAX - SLC_CHUNK_HEAD_BYTES,

    SLC_RECORD_HEAD_BYTES = 8,
    SLC_ENQ_HEAD_BYTES = 32,          // record head and fixed fields of a message stored inline
    SLC_ENQ_RESIDENT_HEAD_BYTES = 48, // the same with the reference to a resident content
    SLC_TARGET_BYTES = 20,
    SLC_DROP_HEAD_BYTES = 16,
    SLC_RANGE_BYTES = 12,
    SLC_QUEUE_RECORD_BYTES = 32,
    SLC_PART_HEAD_BYTES = 32,
    // What is written. Free space is in short runs after a while, and a value wants its pages in one: what stays for long is cut
    // to eight. A reader takes any size up to that of a chunk.
    SLC_PART_VALUE_MAX = 8 * 4096 - 16,
    SLC_PART_DATA_MAX = SLC_PART_VALUE_MAX - SLC_CHUNK_HEAD_BYTES - SLC_PART_HEAD_BYTES,
    SLC_SEGMENT_VALUE_MAX = 8 * 4096 - 16, // one larger message has a larger one to itself

    SLC_STATE_BYTES = 72,
    SLC_QUEUE_VALUE_BYTES = 48,

    SLC_SEGMENT_KEY_BYTES = 12,
    SLC_SEGMENT_HEAD_BYTES = 32,
    SLC_SLOT_BYTES = 40,
    SLC_SLOT_RESIDENT_BYTES = 24, // what a slot with a resident content has in place of it
    SLC_SEGMENT_SPAN_MAX = 8192,  // positions from its first to its last
    SLC_DIRECTORY_HEAD_BYTES = 48,
    SLC_DIRECTORY_RESIDENT_BYTES = 32,
    SLC_DIRECTORY_MAX = SLC_DIRECTORY_HEAD_BYTES + SLC_SEGMENT_SPAN_MAX / 8 +
                        SLC_CHUNK_VALUE_MAX / (SLC_SLOT_BYTES + SLC_SLOT_RESIDENT_BYTES) *
                            SLC_DIRECTORY_RESIDENT_BYTES,
};

typedef enum slc_chunk_flags {
    SLC_CHUNK_BATCH_BEGIN = 1,
    SLC_CHUNK_BATCH_END = 2,
    SLC_CHUNK_RESIDENT = 4,
    SLC_CHUNK_LZ = 8, // reserved; refused
} slc_chunk_flags;

typedef enum slc_record_type {
    SLC_RECORD_ENQ = 1,
    SLC_RECORD_DROP = 2,
    SLC_RECORD_RET = 3, // 3, 6, 7, 8: named in the design, not written yet
    SLC_RECORD_QNEW = 4,
    SLC_RECORD_QDEL = 5,
    SLC_RECORD_EPOCH = 6,
    SLC_RECORD_CUR = 7,
    SLC_RECORD_TXMARK = 8,
    SLC_RECORD_PART = 9,
} slc_record_type;

enum {
    SLC_RECORD_SKIPPABLE = 0x80, // record flag: a reader that does not know the type passes over it
    SLC_ENQ_RESIDENT = 1,        // record flag of ENQ
};

typedef struct slc_chunk_head {
    uint8_t version;
    uint8_t flags;
    uint16_t records;
    uint32_t epoch;
    uint64_t lsn;
    uint64_t wall_ms;
    uint32_t body_bytes;
    uint32_t skipped; // LSNs directly before this one that are not chunks of the log
} slc_chunk_head;

/** Fill the 40 bytes before a body that already stands at value + 40, checksum included. */
void slc_chunk_seal(uint8_t *value, uint16_t shard, const slc_chunk_head *head);
/** Check size, version, flags, checksum and that the chunk is number lsn of the shard. body points into value. */
SLC_MUST_USE slc_err slc_chunk_open(slc_slice value, uint16_t shard, uint64_t lsn,
                                    slc_chunk_head *head, slc_slice *body, slc_error *error);

/** The body of a chunk that slc_chunk_open has checked before. */
slc_slice slc_chunk_body(slc_slice value);

/** One decoded record; pointers into the chunk. */
typedef struct slc_record {
    uint8_t type, flags;
    union {
        struct {
            uint16_t targets; // slc_record_target; a qid of 0 was cancelled before it was written
            uint8_t priority;
            uint64_t content_bytes, ts_ms;
            uint64_t resident_lsn;   // with SLC_ENQ_RESIDENT: first part
            uint32_t resident_parts; // with SLC_ENQ_RESIDENT
            const uint8_t *target_data;
            slc_slice content; // empty with SLC_ENQ_RESIDENT
        } enq;
        struct {
            uint32_t qid;
            uint8_t reason;
            uint16_t ranges; // slc_record_range
            const uint8_t *range_data;
        } drop;
        struct {
            uint32_t qid;
            slc_uuid uuid;
        } queue; // QNEW and QDEL
        struct {
            uint64_t first_lsn;
            uint32_t index, parts;
            uint64_t content_bytes;
            slc_slice data;
        } part;
    };
} slc_record;

/** Take one record from the front of *body. SLC_OK with type 0: a skippable record of an unknown type was passed.
 *  SLC_ECORRUPT: it does not fit; SLC_EVERSION: a type this version does not know. */
SLC_MUST_USE slc_err slc_record_next(slc_slice *body, slc_record *out, slc_error *error);
slc_store_target slc_record_target(const slc_record *record, uint32_t index);
void slc_record_range(const slc_record *record, uint32_t index, uint64_t *qseq, uint32_t *count);

/* Encoders of the fixed parts. Each returns the bytes written. */
uint32_t slc_enq_encode(uint8_t *out, uint64_t content_bytes, uint64_t ts_ms, uint8_t priority,
                        const slc_store_target *targets, uint32_t count, uint64_t resident_lsn,
                        uint32_t resident_parts);
uint32_t slc_drop_encode(uint8_t *out, uint32_t qid, uint8_t reason);
uint32_t slc_queue_record_encode(uint8_t *out, uint8_t type, uint32_t qid, const slc_uuid *uuid);
uint32_t slc_part_encode(uint8_t *out, uint64_t first_lsn, uint32_t index, uint32_t parts,
                         uint64_t content_bytes, uint32_t data_bytes);

/** Value of `s` in NNNN.st. */
typedef struct slc_shard_state {
    uint32_t epoch;
    uint64_t log_start; // first LSN in .log, or the next one to be given when .log is empty
    uint64_t migrated, hw;
    uint32_t next_qid;
    uint64_t next_res, log_bytes;
} slc_shard_state;

void slc_state_encode(uint8_t out[SLC_STATE_BYTES], uint16_t shard, const slc_shard_state *state);
SLC_MUST_USE slc_err slc_state_decode(slc_slice value, uint16_t shard, slc_shard_state *state,
                                      slc_error *error);

/** Value of a qid in NNNN.que. */
typedef struct slc_queue_value {
    slc_uuid uuid;
    uint64_t next_qseq, delivered;
} slc_queue_value;

void slc_queue_value_encode(uint8_t out[SLC_QUEUE_VALUE_BYTES], uint16_t shard, uint32_t qid,
                            const slc_queue_value *value);
SLC_MUST_USE slc_err slc_queue_value_decode(slc_slice in, uint16_t shard, uint32_t qid,
                                            slc_queue_value *value, slc_error *error);
/** The queue whose entry this says it is; 0: it cannot be one. Not checked. */
uint32_t slc_queue_value_qid(slc_slice in);

/* ---- segments: storage/FORMAT.md "Segment", "Directory record" ---- */

/** Keys of .seg and .smd. */
void slc_segment_key(uint8_t out[SLC_SEGMENT_KEY_BYTES], uint32_t qid, uint64_t first);
SLC_MUST_USE slc_err slc_segment_key_decode(slc_slice key, uint32_t *qid, uint64_t *first,
                                            slc_error *error);

enum { SLC_SLOT_RESIDENT = 1 }; // slot flag

/** One message of a segment; content points into the value it came from. */
typedef struct slc_slot {
    uint64_t qseq, ts_ms, expires_ms;
    uint8_t priority, flags;
    slc_slice content; // of a resident: empty
    uint64_t content_bytes;
    uint64_t resident_lsn; // 0: inline
    uint32_t resident_parts;
} slc_slot;

/** Bytes that a slot takes in a segment's value. */
static inline uint32_t slc_slot_bytes(const slc_slot *slot)
{
    return SLC_SLOT_BYTES +
           (slot->resident_lsn != 0 ? SLC_SLOT_RESIDENT_BYTES : (uint32_t)slot->content.bytes);
}
/** Write count slots, qseq ascending, at most SLC_CHUNK_VALUE_MAX bytes together. Returns the bytes written. */
uint32_t slc_segment_encode(uint8_t *out, uint16_t shard, uint32_t qid, const slc_slot *slots,
                            uint32_t count);
/** Check size, version, checksum and key; *count slots. */
SLC_MUST_USE slc_err slc_segment_open(slc_slice value, uint16_t shard, uint32_t qid, uint64_t first,
                                      uint32_t *count, slc_error *error);
/** Slot index < count of a value that was opened. */
SLC_MUST_USE slc_err slc_segment_slot(slc_slice value, uint32_t index, slc_slot *slot,
                                      slc_error *error);

typedef struct slc_directory_resident {
    uint64_t qseq, first_lsn, bytes;
    uint32_t parts;
} slc_directory_resident;

/** What is known of a segment without reading it. */
typedef struct slc_directory {
    uint32_t count, live; // slots; those not dropped
    uint64_t last, bytes; // position of the last slot; contents of all slots
    const uint8_t *dead;  // bit i: position first + i is absent or dropped; NULL: none is
    uint32_t dead_bytes, residents;
    const uint8_t *resident_data; // decoded: slc_directory_resident_at
} slc_directory;

/** residents: directory->residents of them. Returns the bytes written, at most SLC_DIRECTORY_MAX. */
uint32_t slc_directory_encode(uint8_t *out, uint16_t shard, uint32_t qid, uint64_t first,
                              const slc_directory *directory,
                              const slc_directory_resident *residents);
SLC_MUST_USE slc_err slc_directory_decode(slc_slice value, uint16_t shard, uint32_t qid,
                                          uint64_t first, slc_directory *out, slc_error *error);
slc_directory_resident slc_directory_resident_at(const slc_directory *directory, uint32_t index);

static inline void slc_put16(uint8_t *out, uint16_t value)
{
    value = htole16(value);
    memcpy(out, &value, sizeof value);
}

static inline void slc_put32(uint8_t *out, uint32_t value)
{
    value = htole32(value);
    memcpy(out, &value, sizeof value);
}

static inline void slc_put64(uint8_t *out, uint64_t value)
{
    value = htole64(value);
    memcpy(out, &value, sizeof value);
}

static inline uint16_t slc_get16(const uint8_t *in)
{
    uint16_t value;
    memcpy(&value, in, sizeof value);
    return le16toh(value);
}

static inline uint32_t slc_get32(const uint8_t *in)
{
    uint32_t value;
    memcpy(&value, in, sizeof value);
    return le32toh(value);
}

static inline uint64_t slc_get64(const uint8_t *in)
{
    uint64_t value;
    memcpy(&value, in, sizeof value);
    return le64toh(value);
}

#endif
