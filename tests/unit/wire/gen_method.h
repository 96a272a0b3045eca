/** Random methods and content properties, and their comparison, from the tables of the codec. */
#ifndef SLC_TEST_GEN_METHOD_H
#define SLC_TEST_GEN_METHOD_H

#include "gen.h"
#include "wire/amqp_method.h"
#include "wire/amqp_props.h"

static inline uint8_t gen_OCTET(gen *g, gen_pool *pool)
{
    (void)pool;
    return (uint8_t)gen_u64(g);
}
static inline uint16_t gen_SHORT(gen *g, gen_pool *pool)
{
    (void)pool;
    return (uint16_t)gen_u64(g);
}
static inline uint32_t gen_LONG(gen *g, gen_pool *pool)
{
    (void)pool;
    return (uint32_t)gen_u64(g);
}
static inline uint64_t gen_LONGLONG(gen *g, gen_pool *pool)
{
    (void)pool;
    return gen_u64(g);
}
static inline bool gen_BIT(gen *g, gen_pool *pool)
{
    (void)pool;
    return (gen_u64(g) & 1) != 0;
}
static inline slc_slice gen_SHORTSTR(gen *g, gen_pool *pool)
{
    return gen_text(g, pool, gen_below(g, 4) == 0 ? 255 : 12);
}
static inline slc_slice gen_LONGSTR(gen *g, gen_pool *pool)
{
    return gen_octets(g, pool, 300);
}
static inline slc_slice gen_TABLE(gen *g, gen_pool *pool)
{
    return gen_table_content(g, pool, gen_below(g, 4), false);
}

static inline bool same_OCTET(uint8_t a, uint8_t b)
{
    return a == b;
}
static inline bool same_SHORT(uint16_t a, uint16_t b)
{
    return a == b;
}
static inline bool same_LONG(uint32_t a, uint32_t b)
{
    return a == b;
}
static inline bool same_LONGLONG(uint64_t a, uint64_t b)
{
    return a == b;
}
static inline bool same_BIT(bool a, bool b)
{
    return a == b;
}
#define same_SHORTSTR slc_slice_equal
#define same_LONGSTR  slc_slice_equal
#define same_TABLE    slc_slice_equal

/** A method of this id with random arguments. */
static inline slc_amqp_method gen_method(gen *g, gen_pool *pool, uint32_t id)
{
    slc_amqp_method method = {.id = id};
    switch (id) {
#define GEN_FIELD(TYPE, field) self->field = gen_##TYPE(g, pool);
#define GEN_METHOD(name_, NAME, text, class_, method_, content, ...)                               \
    case SLC_AMQP_##NAME: {                                                                        \
        slc_amqp_##name_ *self = &method.name_;                                                    \
        (void)self;                                                                                \
        __VA_ARGS__                                                                                \
        break;                                                                                     \
    }
        SLC_AMQP_METHOD_TABLE(GEN_METHOD, GEN_FIELD)
#undef GEN_METHOD
#undef GEN_FIELD
    default:
        break;
    }
    return method;
}

/** The name of the first field that differs; NULL: equal. */
static inline const char *method_difference(const slc_amqp_method *a, const slc_amqp_method *b)
{
    if (a->id != b->id)
        return "id";
    switch (a->id) {
#define SAME_FIELD(TYPE, field)                                                                    \
    if (!same_##TYPE(left->field, right->field))                                                   \
        return #field;
#define SAME_METHOD(name_, NAME, text, class_, method_, content, ...)                              \
    case SLC_AMQP_##NAME: {                                                                        \
        const slc_amqp_##name_ *left = &a->name_;                                                  \
        const slc_amqp_##name_ *right = &b->name_;                                                 \
        (void)left;                                                                                \
        (void)right;                                                                               \
        __VA_ARGS__                                                                                \
        break;                                                                                     \
    }
        SLC_AMQP_METHOD_TABLE(SAME_METHOD, SAME_FIELD)
#undef SAME_METHOD
#undef SAME_FIELD
    default:
        return "unknown id";
    }
    return NULL;
}

/** Random properties, each present or not. */
static inline slc_amqp_props gen_props(gen *g, gen_pool *pool)
{
    slc_amqp_props props = {0};
#define GEN_PROP(FLAG, bit, TYPE, name)                                                            \
    if (gen_below(g, 2) == 0) {                                                                    \
        props.flags |= SLC_AMQP_PROP_##FLAG;                                                       \
        props.name = gen_##TYPE(g, pool);                                                          \
    }
    SLC_AMQP_PROPS_TABLE(GEN_PROP)
#undef GEN_PROP
    return props;
}

static inline const char *props_difference(const slc_amqp_props *a, const slc_amqp_props *b)
{
    if (a->flags != b->flags)
        return "flags";
#define SAME_PROP(FLAG, bit, TYPE, name)                                                           \
    if (!same_##TYPE(a->name, b->name))                                                            \
        return #name;
    SLC_AMQP_PROPS_TABLE(SAME_PROP)
#undef SAME_PROP
    return NULL;
}

#endif
