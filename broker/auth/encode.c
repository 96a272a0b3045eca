// Users and permissions as objects of the control plane.
//
//   key    u8 kind, then each name as u8 length and octets: user (5) name; permission (6) user, vhost; topic permission
//          (7) user, vhost, exchange. A key that would be longer than 511 octets is the kind, 0, SHA-256 of that key.
//   value  msgpack array, first the version of the layout:
//            user       [1, name, password hash, hashing, tags, max-connections, max-channels]   limits: nil when not set
//            permission [1, user, vhost, configure, write, read]
//            topic      [1, user, vhost, exchange, write, read]
//   names, hashes, tags and patterns are msgpack `bin`.
#include <msgpack.h>

#include "auth/auth_impl.h"

static void changes_add(slc_auth_changes *changes, slc_slice key, slc_slice value)
{
    if (changes->count == changes->capacity) {
        changes->capacity = changes->capacity == 0 ? 4 : 2 * changes->capacity;
        changes->items = slc_realloc(changes->items, changes->capacity * sizeof *changes->items);
    }
    changes->items[changes->count++] = (slc_change){
        .key = auth_copy(key),
        .value = value.data != NULL ? auth_copy(value) : (slc_slice){0},
    };
}

void slc_auth_changes_fini(slc_auth_changes *changes)
{
    for (uint32_t i = 0; i < changes->count; i++) {
        auth_drop(&changes->items[i].key);
        auth_drop(&changes->items[i].value);
    }
    slc_free(changes->items);
    *changes = (slc_auth_changes){0};
}

static void pack_slice(msgpack_packer *pk, slc_slice slice)
{
    msgpack_pack_bin(pk, slice.bytes);
    if (slice.bytes > 0)
        msgpack_pack_bin_body(pk, slice.data, slice.bytes);
}

static void pack_limit(msgpack_packer *pk, bool set, int64_t value)
{
    if (set)
        msgpack_pack_int64(pk, value);
    else
        msgpack_pack_nil(pk);
}

void auth_changes_put_user(slc_auth_changes *changes, const slc_auth_user *user)
{
    msgpack_sbuffer buffer;
    msgpack_packer pk;
    msgpack_sbuffer_init(&buffer);
    msgpack_packer_init(&pk, &buffer, msgpack_sbuffer_write);
    msgpack_pack_array(&pk, 7);
    msgpack_pack_uint8(&pk, 1);
    pack_slice(&pk, user->name);
    pack_slice(&pk, user->password_hash);
    msgpack_pack_uint8(&pk, (uint8_t)user->hashing);
    pack_slice(&pk, user->tags);
    pack_limit(&pk, user->max_connections_set, user->max_connections);
    pack_limit(&pk, user->max_channels_set, user->max_channels);
    uint8_t key[AUTH_KEY_BYTES_MAX];
    changes_add(changes, auth_key(AUTH_KIND_USER, &user->name, 1, key),
                slc_slice_of(buffer.data, buffer.size));
    msgpack_sbuffer_destroy(&buffer);
}

void auth_changes_put_permission(slc_auth_changes *changes, const slc_auth_permission *p,
                                 bool topic)
{
    msgpack_sbuffer buffer;
    msgpack_packer pk;
    msgpack_sbuffer_init(&buffer);
    msgpack_packer_init(&pk, &buffer, msgpack_sbuffer_write);
    msgpack_pack_array(&pk, 6);
    msgpack_pack_uint8(&pk, 1);
    pack_slice(&pk, p->user);
    pack_slice(&pk, p->vhost);
    pack_slice(&pk, topic ? p->exchange : p->configure);
    pack_slice(&pk, p->write);
    pack_slice(&pk, p->read);
    slc_slice names[] = {p->user, p->vhost, p->exchange};
    uint8_t key[AUTH_KEY_BYTES_MAX];
    changes_add(changes,
                auth_key(topic ? AUTH_KIND_TOPIC : AUTH_KIND_PERMISSION, names, topic ? 3 : 2, key),
                slc_slice_of(buffer.data, buffer.size));
    msgpack_sbuffer_destroy(&buffer);
}

void auth_changes_delete(slc_auth_changes *changes, slc_slice key)
{
    changes_add(changes, key, (slc_slice){0});
}

/* ---- reading ---- */

typedef struct fields {
    msgpack_unpacked result;
    const msgpack_object *items;
    uint32_t count;
} fields;

/** False: no array. fields_end in any case. */
static bool fields_begin(fields *f, slc_slice value)
{
    size_t offset = 0;
    msgpack_unpacked_init(&f->result);
    if (msgpack_unpack_next(&f->result, (const char *)value.data, value.bytes, &offset) !=
            MSGPACK_UNPACK_SUCCESS ||
        f->result.data.type != MSGPACK_OBJECT_ARRAY)
        return false;
    f->items = f->result.data.via.array.ptr;
    f->count = f->result.data.via.array.size;
    return true;
}

/** The slice points into value: msgpack leaves `bin` where it was read. */
static bool field_slice(const fields *f, uint32_t i, size_t max, slc_slice *out)
{
    if (i >= f->count || f->items[i].type != MSGPACK_OBJECT_BIN || f->items[i].via.bin.size > max)
        return false;
    *out = slc_slice_of(f->items[i].via.bin.ptr, f->items[i].via.bin.size);
    return true;
}

static bool field_limit(const fields *f, uint32_t i, bool *set, int64_t *out)
{
    if (i >= f->count)
        return false;
    const msgpack_object *item = &f->items[i];
    *set = item->type != MSGPACK_OBJECT_NIL;
    *out = -1;
    if (item->type == MSGPACK_OBJECT_POSITIVE_INTEGER && item->via.u64 <= INT64_MAX)
        *out = (int64_t)item->via.u64;
    else if (item->type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
        *out = -1;
    else
        return !*set;
    return true;
}

uint64_t auth_decode_version(slc_slice value)
{
    fields f;
    uint64_t version = 0;
    if (fields_begin(&f, value) && f.count > 0 &&
        f.items[0].type == MSGPACK_OBJECT_POSITIVE_INTEGER)
        version = f.items[0].via.u64;
    msgpack_unpacked_destroy(&f.result);
    return version;
}

bool auth_decode_user(slc_slice value, slc_auth_user *out)
{
    fields f;
    *out = (slc_auth_user){0};
    bool good = fields_begin(&f, value) &&
                field_slice(&f, 1, SLC_AUTH_NAME_BYTES_MAX, &out->name) && out->name.bytes > 0 &&
                field_slice(&f, 2, SLC_AUTH_HASH_BYTES_MAX, &out->password_hash) && f.count > 3 &&
                f.items[3].type == MSGPACK_OBJECT_POSITIVE_INTEGER &&
                f.items[3].via.u64 <= SLC_AUTH_MD5 &&
                field_slice(&f, 4, SLC_AUTH_TAGS_BYTES_MAX, &out->tags) &&
                field_limit(&f, 5, &out->max_connections_set, &out->max_connections) &&
                field_limit(&f, 6, &out->max_channels_set, &out->max_channels);
    if (good) {
        out->hashing = (slc_auth_hashing)f.items[3].via.u64;
        out->tag_bits = auth_tag_bits(out->tags);
    }
    msgpack_unpacked_destroy(&f.result);
    return good;
}

bool auth_decode_permission(slc_slice value, bool topic, slc_auth_permission *out)
{
    fields f;
    *out = (slc_auth_permission){0};
    bool good = fields_begin(&f, value) &&
                field_slice(&f, 1, SLC_AUTH_NAME_BYTES_MAX, &out->user) && out->user.bytes > 0 &&
                field_slice(&f, 2, SLC_AUTH_NAME_BYTES_MAX, &out->vhost) &&
                field_slice(&f, 3, topic ? SLC_AUTH_NAME_BYTES_MAX : SLC_AUTH_PATTERN_BYTES_MAX,
                            topic ? &out->exchange : &out->configure) &&
                field_slice(&f, 4, SLC_AUTH_PATTERN_BYTES_MAX, &out->write) &&
                field_slice(&f, 5, SLC_AUTH_PATTERN_BYTES_MAX, &out->read);
    msgpack_unpacked_destroy(&f.result);
    return good;
}

uint32_t auth_tag_bits(slc_slice tags)
{
    static const struct {
        const char *name;
        uint32_t bits;
    } known[] = {
        {"management", SLC_AUTH_TAG_MANAGEMENT},
        {"policymaker", SLC_AUTH_TAG_POLICYMAKER | SLC_AUTH_TAG_MANAGEMENT},
        {"monitoring", SLC_AUTH_TAG_MONITORING | SLC_AUTH_TAG_MANAGEMENT},
        {"administrator", SLC_AUTH_TAG_ADMINISTRATOR | SLC_AUTH_TAG_MONITORING |
                              SLC_AUTH_TAG_POLICYMAKER | SLC_AUTH_TAG_MANAGEMENT},
        {"impersonator", SLC_AUTH_TAG_IMPERSONATOR},
    };
    uint32_t bits = 0;
    for (size_t at = 0; at < tags.bytes;) {
        const uint8_t *comma = memchr(tags.data + at, ',', tags.bytes - at);
        size_t end = comma != NULL ? (size_t)(comma - tags.data) : tags.bytes;
        slc_slice tag = slc_slice_of(tags.data + at, end - at);
        for (size_t i = 0; i < SLC_ARRAY_COUNT(known); i++)
            bits |= slc_slice_is(tag, known[i].name) ? known[i].bits : 0;
        at = end + 1;
    }
    return bits;
}
