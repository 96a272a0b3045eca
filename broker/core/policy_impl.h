/** Policies, for the files of core that make and free what policies apply to. Thread: the loop. */
#ifndef SLC_CORE_POLICY_IMPL_H
#define SLC_CORE_POLICY_IMPL_H

#include "core/parameter.h"
#include "core/policy.h"

/** Somebody who waits for a sweep to end. */
typedef struct slc_policy_waiter {
    void (*done)(void *arg);
    void *arg;
    struct slc_policy_waiter *next;
} slc_policy_waiter;

typedef struct slc_policy_list {
    slc_policy **items; // by priority (highest first), then name
    uint32_t count, capacity;
} slc_policy_list;

/** In slc_vhost. */
typedef struct slc_policies {
    slc_policy_list lists[2]; // policies, operator policies
    bool sweeping, again;     // again: something changed since the sweep began
    slc_queue *queue;         // next to be looked at; NULL: queues are done
    slc_exchange *exchange;
    slc_policy_waiter *waiters, *late; // late: of changes that the sweep under way may have missed
} slc_policies;

/** A new queue or exchange: what applies to it; its settings are read again if something does. */
void slc_policy_attach(slc_vhost *vhost, slc_destination *dest);
/** It is leaving the vhost's map: the sweep steps over it. Before the removal. */
void slc_policy_leaving(slc_vhost *vhost, const slc_destination *dest);
/** It is freed. */
void slc_policy_detach(slc_destination *dest);

/** A stored policy was applied; value NULL: cleared. */
void slc_policy_changed(slc_vhost *vhost, bool is_operator, slc_slice name, const json_t *value);
/** Run done when all objects of the vhost know about changes until now; maybe at once. */
void slc_policy_wait(slc_vhost *vhost, void (*done)(void *arg), void *arg);
/** At the start: every object of every vhost, without a budget. */
void slc_policy_start(slc_broker *broker);
/** A slice of every sweep; true: there is more. */
bool slc_policy_turn(slc_broker *broker);
void slc_policies_fini(slc_policies *policies);

/* parameter.c */
SLC_MUST_USE slc_err slc_parameter_apply(slc_broker *broker, const slc_env_change *change,
                                         slc_error *error);
/** The vhost is freed: forget its parameters in memory. */
void slc_parameters_forget(slc_broker *broker, const slc_vhost *vhost);

#endif
