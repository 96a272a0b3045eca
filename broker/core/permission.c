#include "core/permission.h"

#include "core/exchange_kinds.h"
#include "core/internal.h"

enum { PERMISSION_SLOTS = 8 };

/** What a session was granted: accesses (bits 1 << slc_access) to one name. Direct-mapped. */
struct slc_permission_slot {
    uint64_t version; // of broker->permission_version
    uint8_t granted;
    uint8_t kind;   // slc_dest_kind
    slc_slice name; // owned
};

static const char *const access_names[] = {
    [SLC_ACCESS_CONFIGURE] = "configure",
    [SLC_ACCESS_WRITE] = "write",
    [SLC_ACCESS_READ] = "read",
};

void slc_permission_fini(slc_session *session)
{
    for (uint32_t i = 0; session->permissions != NULL && i < PERMISSION_SLOTS; i++)
        slc_free((void *)session->permissions[i].name.data);
    slc_free(session->permissions);
}

static bool may(slc_session *s, slc_access access, slc_dest_kind kind, slc_slice name)
{
    const slc_client *client = s->client;
    if (client->ops->may == NULL)
        return true; // a front end without users
    if (s->permissions == NULL)
        s->permissions = slc_alloc_zero(PERMISSION_SLOTS, sizeof *s->permissions);
    uint32_t hash = slc_hash(name.data, name.bytes) + (uint32_t)kind;
    slc_permission_slot *slot = &s->permissions[hash % PERMISSION_SLOTS];
    uint64_t version = s->broker->permission_version;
    bool same = slot->version == version && slot->kind == kind && slc_slice_equal(slot->name, name);
    if (same && (slot->granted & 1u << access) != 0)
        return true;
    if (!client->ops->may(s->client, access, (int)kind, name))
        return false;
    if (!same) {
        slc_free((void *)slot->name.data);
        *slot = (slc_permission_slot){
            .version = version, .kind = (uint8_t)kind, .name = slc_slice_copy(name)};
    }
    slot->granted |= (uint8_t)(1u << access);
    return true;
}

static slc_slice shown_name(slc_dest_kind kind, slc_slice name)
{
    return kind == SLC_DEST_EXCHANGE && name.bytes == 0 ? slc_slice_str("amq.default") : name;
}

static slc_err refused(const slc_session *s, slc_access access, slc_dest_kind kind, slc_slice name,
                       slc_error *error)
{
    char text[640];
    return slc_error_set(
        error, SLC_EACCESS, "%s access to %s refused for user '%s'", access_names[access],
        slc_resource_text(s->client->vhost, kind, name, text, sizeof text), s->client->info.user);
}

slc_err slc_session_may(slc_session *session, slc_access access, slc_dest_kind kind, slc_slice name,
                        slc_error *error)
{
    name = shown_name(kind, name);
    return may(session, access, kind, name) ? SLC_OK : refused(session, access, kind, name, error);
}

slc_err slc_session_may_any(slc_session *session, slc_dest_kind kind, slc_slice name,
                            slc_error *error)
{
    if (session->broker->passive_needs_nothing)
        return SLC_OK;
    name = shown_name(kind, name);
    if (may(session, SLC_ACCESS_CONFIGURE, kind, name) ||
        may(session, SLC_ACCESS_WRITE, kind, name) || may(session, SLC_ACCESS_READ, kind, name))
        return SLC_OK;
    return refused(session, SLC_ACCESS_CONFIGURE, kind, name, error);
}

slc_err slc_session_may_topic(slc_session *session, slc_access access, const slc_exchange *exchange,
                              slc_slice key, slc_error *error)
{
    slc_client *client = session->client;
    if (client->ops->may_topic == NULL || exchange->kind != &slc_exchange_topic ||
        client->ops->may_topic(client, access, exchange->dest.name, key))
        return SLC_OK;
    char text[640];
    return slc_error_set(
        error, SLC_EACCESS, "%s access to topic '%.*s' in %s refused for user '%s'",
        access_names[access], SLC_SLICE_FMT(key),
        slc_resource_text(client->vhost, SLC_DEST_EXCHANGE, exchange->dest.name, text, sizeof text),
        client->info.user);
}

void slc_broker_permissions_changed(slc_broker *broker)
{
    broker->permission_version++;
    slc_vhost *vhost, *next;
    HASH_ITER(hh, broker->vhosts, vhost, next) vhost->topology_version++;
}
