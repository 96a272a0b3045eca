/** Policies: settings by name pattern, for queues and exchanges of a vhost.
 *
 *  Per object at most one policy and one operator policy apply: of those whose pattern is found in its name and whose apply-to
 *  fits, the one with the highest priority; of equal ones the first by name. What applies is in dest.policy and
 *  dest.operator_policy (the definition as table content), held by the object until something else applies to it.
 *
 *      parameter set ──> compiled, in its vhost's ordered list ──> sweep over all objects, a slice each turn ──> settings changed
 *      object made   ──> looked up at once
 *
 *  A change that comes while a sweep is under way makes the sweep go round once more; nobody starves. A pattern is PCRE2 without
 *  JIT and with a match limit: one that needs more does not match, which is logged. Most patterns begin with ^ and text: those
 *  are compared before PCRE2 is asked.
 *
 *  Thread: the loop.  @spec amqp-semantics 18.1, 10
 */
#ifndef SLC_CORE_POLICY_H
#define SLC_CORE_POLICY_H

#include <jansson.h>

#include "base/table.h"
#include "core/broker.h"

enum {
    SLC_POLICY_MATCH_LIMIT = 50000, // steps of one match
    SLC_POLICY_TURN_BUDGET =
        20000, // comparisons of one slice of a sweep; a match counts as several
};

typedef struct slc_policy slc_policy;

/** Check a whole policy ({"pattern","definition","priority","apply-to"}): SLC_EINVAL with RabbitMQ's text. @spec 18.1 */
SLC_MUST_USE slc_err slc_policy_check(const json_t *value, bool is_operator, slc_error *error);
/** Check the definition alone: known keys, fit values, keys that need others. */
SLC_MUST_USE slc_err slc_policy_check_definition(const json_t *definition, bool is_operator,
                                                 slc_error *error);

/** NULL: none applies. */
slc_slice slc_policy_name(const slc_policy *policy);
/** What both policies of an object say together, as table content appended to out: of numbers that both have the smaller (negative
 *  delivery-limit: no limit), else the operator's. The object's own arguments are not in it. */
void slc_policy_effective(slc_slice policy, slc_slice operator_policy, slc_buffer *out);

/** Each policy, or operator policy, whose pattern and apply-to fit a queue; the first is the one that applies. False: there is no such
 *  queue. */
bool slc_policy_each_of_queue(slc_vhost *vhost, slc_slice queue, bool is_operator,
                              void (*each)(slc_slice policy, void *arg), void *arg);

/** Would pattern be found in name? SLC_EINVAL: it does not compile (error says where); SLC_ELIMIT: too many steps. For tests and
 *  tools; the lists keep theirs compiled. */
SLC_MUST_USE slc_err slc_policy_pattern_try(slc_slice pattern, slc_slice name, bool *found,
                                            slc_error *error);

#endif
