/* x-delayed-message: a message with a header x-delay above 0 waits in the exchange's schedule; any
 * other, and each one when it is due, goes by the rule of another kind, the argument x-delayed-type.
 * That kind works on this exchange as on one of its own: it has its index in exchange->index while
 * one of its functions runs. @spec amqp-semantics 8.6 */
#include "core/exchange_kinds.h"

#include "core/internal.h"
#include "core/schedule.h"

/** The index. */
typedef struct delayed {
    const slc_exchange_kind *rule;
    void *rule_index;
    slc_schedule *schedule; // NULL in a vhost without a broker (tests of routing)
} delayed;

static const slc_exchange_kind *rule_of(slc_slice arguments)
{
    slc_value value;
    if (!slc_table_find(arguments, slc_slice_str("x-delayed-type"), &value) ||
        value.type != SLC_TYPE_LONGSTR)
        return NULL;
    const slc_exchange_kind *rule = slc_exchange_kind_find(value.bytes);
    return rule != &slc_exchange_delayed ? rule : NULL;
}

static slc_err delayed_check_arguments(slc_slice arguments, slc_error *error)
{
    const slc_exchange_kind *rule = rule_of(arguments);
    if (rule == NULL)
        return slc_error_set(
            error, SLC_EPRECONDITION,
            "Invalid argument, 'x-delayed-type' must be an existing exchange type");
    return rule->check_arguments != NULL ? rule->check_arguments(arguments, error) : SLC_OK;
}

static slc_err delayed_check(const slc_exchange *exchange, slc_slice key, slc_slice arguments,
                             slc_error *error)
{
    const delayed *d = exchange->index;
    return d->rule->check != NULL ? d->rule->check(exchange, key, arguments, error) : SLC_OK;
}

static delayed *rule_enter(slc_exchange *exchange)
{
    delayed *d = exchange->index;
    exchange->index = d->rule_index;
    return d;
}

static void rule_leave(slc_exchange *exchange, delayed *d)
{
    d->rule_index = exchange->index;
    exchange->index = d;
}

static void delayed_init(slc_exchange *exchange)
{
    delayed *d = slc_alloc_zero(1, sizeof *d);
    d->rule = rule_of(exchange->arguments);
    SLC_ASSERT(d->rule != NULL);
    exchange->index = d;
    rule_enter(exchange);
    if (d->rule->init != NULL)
        d->rule->init(exchange);
    rule_leave(exchange, d);
    if (exchange->vhost->broker != NULL)
        d->schedule = slc_schedule_new(exchange);
}

static void delayed_fini(slc_exchange *exchange)
{
    delayed *d = rule_enter(exchange);
    if (d->rule->fini != NULL)
        d->rule->fini(exchange);
    if (d->schedule != NULL)
        slc_schedule_close(d->schedule);
    slc_free(d);
}

static void delayed_added(slc_exchange *exchange, slc_binding *binding)
{
    delayed *d = rule_enter(exchange);
    d->rule->added(exchange, binding);
    rule_leave(exchange, d);
}

static void delayed_removed(slc_exchange *exchange, slc_binding *binding)
{
    delayed *d = rule_enter(exchange);
    d->rule->removed(exchange, binding);
    rule_leave(exchange, d);
}

static void delayed_bound(slc_exchange *exchange, slc_binding *binding)
{
    delayed *d = rule_enter(exchange);
    if (d->rule->bound != NULL)
        d->rule->bound(exchange, binding);
    rule_leave(exchange, d);
}

static void delayed_route(slc_exchange *exchange, const slc_route_input *input, slc_route *route)
{
    delayed *d = exchange->index;
    if (d->schedule != NULL && slc_delay_of(input->headers) > 0) {
        slc_route_to_queue(route, &slc_schedule_queue(d->schedule)->dest);
        return;
    }
    rule_enter(exchange);
    slc_route_by_kind(d->rule, exchange, input, route);
    rule_leave(exchange, d);
}

slc_schedule *slc_exchange_schedule(const slc_exchange *exchange)
{
    if (exchange->kind != &slc_exchange_delayed)
        return NULL;
    return ((const delayed *)exchange->index)->schedule;
}

bool slc_exchange_messages_delayed(const slc_exchange *exchange, uint64_t *count)
{
    const slc_schedule *schedule = slc_exchange_schedule(exchange);
    if (schedule == NULL)
        return false;
    *count = slc_schedule_count(schedule);
    return true;
}

bool slc_exchange_list_delayed(const slc_exchange *exchange, uint32_t max, slc_delayed_listed done,
                               void *arg)
{
    slc_schedule *schedule = slc_exchange_schedule(exchange);
    if (schedule == NULL)
        return false;
    slc_schedule_list(schedule, max, done, arg);
    return true;
}

slc_err slc_exchange_cancel_delayed(const slc_exchange *exchange, uint64_t position)
{
    slc_schedule *schedule = slc_exchange_schedule(exchange);
    return schedule != NULL && slc_schedule_cancel(schedule, position) ? SLC_OK : SLC_ENOTFOUND;
}

static const char *const delayed_compared[] = {"x-delayed-type", NULL};

const slc_exchange_kind slc_exchange_delayed = {
    .name = "x-delayed-message",
    .description = "Delayed Message Exchange.",
    .by_key_only = false,
    .compared = delayed_compared,
    .check_arguments = delayed_check_arguments,
    .check = delayed_check,
    .init = delayed_init,
    .fini = delayed_fini,
    .added = delayed_added,
    .removed = delayed_removed,
    .bound = delayed_bound,
    .route = delayed_route,
};
