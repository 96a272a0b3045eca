/* Bindings. One allocation holds the struct and its identity; key and arguments are parts of the
 * identity:
 *
 *      destination kind u8, name length u8, name, key length u8, key, arguments with keys sorted
 *
 * The length octets keep different bindings different: (name "ab", key "c") is not (name "a", key
 * "bc").
 */
#include "core/topology.h"

#include <utlist.h>

#include "base/alloc.h"
#include "base/table.h"

enum { NAME_BYTES_MAX = 255, KEY_BYTES_MAX = 255 };

static void identity_put_short(slc_buffer *out, slc_slice slice)
{
    uint8_t bytes = (uint8_t)slice.bytes;
    slc_buffer_put(out, &bytes, 1);
    if (slice.bytes > 0)
        slc_buffer_put(out, slice.data, slice.bytes);
}

/** Append the identity; returns where in it the arguments begin. */
static size_t identity_put(slc_buffer *out, const slc_destination *destination, slc_slice key,
                           slc_slice arguments)
{
    SLC_ASSERT(destination->name.bytes <= NAME_BYTES_MAX);
    SLC_ASSERT(key.bytes <= KEY_BYTES_MAX);
    uint8_t kind = (uint8_t)destination->kind;
    slc_buffer_put(out, &kind, 1);
    identity_put_short(out, destination->name);
    identity_put_short(out, key);
    size_t arguments_at = out->bytes;
    if (arguments.bytes > 0)
        slc_table_sorted(arguments, out);
    return arguments_at;
}

static slc_binding *binding_of_identity(const slc_exchange *source, slc_slice identity)
{
    slc_binding *found;
    HASH_FIND(hh, source->bindings, identity.data, identity.bytes, found);
    return found;
}

slc_binding *slc_binding_find(const slc_exchange *source, const slc_destination *destination,
                              slc_slice key, slc_slice arguments)
{
    slc_buffer identity = {0};
    identity_put(&identity, destination, key, arguments);
    slc_binding *found = binding_of_identity(source, slc_buffer_slice(&identity));
    slc_buffer_fini(&identity);
    return found;
}

slc_err slc_binding_add(slc_exchange *source, slc_destination *destination, slc_slice key,
                        slc_slice arguments, slc_binding **out, slc_error *error)
{
    if (source->kind->check != NULL) {
        slc_err rc = source->kind->check(source, key, arguments, error);
        if (rc != SLC_OK)
            return rc;
    }
    slc_buffer identity = {0};
    size_t arguments_at = identity_put(&identity, destination, key, arguments);
    slc_binding *binding = binding_of_identity(source, slc_buffer_slice(&identity));
    if (binding != NULL) {
        slc_buffer_fini(&identity);
        *out = binding;
        return slc_error_set(error, SLC_EEXIST, "this binding exists already");
    }

    binding = slc_alloc_zero(1, sizeof *binding + identity.bytes);
    uint8_t *stored = (uint8_t *)(binding + 1);
    memcpy(stored, identity.data, identity.bytes);
    binding->source = source;
    binding->destination = destination;
    binding->identity = slc_slice_of(stored, identity.bytes);
    binding->key = slc_slice_of(stored + arguments_at - key.bytes, key.bytes);
    binding->arguments = slc_slice_of(stored + arguments_at, identity.bytes - arguments_at);
    binding->durable = source->dest.durable && destination->durable;
    slc_buffer_fini(&identity);

    HASH_ADD_KEYPTR(hh, source->bindings, binding->identity.data, binding->identity.bytes, binding);
    DL_APPEND2(destination->bindings_in, binding, in_prev, in_next);
    destination->bindings_in_count++;
    source->had_binding = true;
    source->kind->added(source, binding);
    *out = binding;
    return SLC_OK;
}

void slc_binding_remove(slc_binding *binding)
{
    slc_exchange *source = binding->source;
    slc_destination *destination = binding->destination;
    source->kind->removed(source, binding);
    HASH_DEL(source->bindings, binding);
    DL_DELETE2(destination->bindings_in, binding, in_prev, in_next);
    SLC_ASSERT(destination->bindings_in_count > 0);
    destination->bindings_in_count--;
    slc_free(binding);
}
