/** Runtime parameters: named JSON values that operators set while the broker runs, of one vhost or of all (global).
 *
 *      set ──check by its component──> proposal ──durable──> apply ──> changed by its component ──> done
 *
 *  A parameter of a vhost belongs to a component, which checks it and acts on it: `policy`, `operator_policy` (core/policy.h) and
 *  `vhost-limits`. A component that nobody registered is refused (shovels and federation upstreams are such). Global parameters
 *  have no component and are kept as they are.
 *
 *  Stored as kind 8 of the control plane: key u8 8, 16 octets vhost id (zeros: global), u8 length of component, component, name;
 *  value u8 1 (version), JSON text. Natural keys: a later set of the same name replaces.
 *
 *  Owner: the broker; json values are counted. Thread: the loop.  @spec amqp-semantics 18.1, management-api 4
 */
#ifndef SLC_CORE_PARAMETER_H
#define SLC_CORE_PARAMETER_H

#include <jansson.h>

#include "core/broker.h"

enum { SLC_PARAMETER_KIND = 8, SLC_PARAMETER_NAME_BYTES_MAX = 255 };

typedef struct slc_parameter {
    slc_vhost *vhost; // NULL: global
    slc_slice component, name;
    json_t *value;
} slc_parameter;

/** created: there was none of that name. error has the sentence of a failure: SLC_EINVAL (the text begins with "Validation
 *  failed"), SLC_ENOTFOUND (clear), SLC_ENOSPC, SLC_ELIMIT. For policies done waits until every queue and exchange has been looked
 *  at again. */
typedef void (*slc_parameter_done)(slc_err rc, bool created, const slc_error *error, void *arg);

/** done runs exactly once, inside this call when the value is refused. value is borrowed. vhost NULL: global, no component. */
void slc_parameter_set(slc_broker *broker, slc_vhost *vhost, slc_slice component, slc_slice name,
                       const json_t *value, slc_parameter_done done, void *arg);
void slc_parameter_clear(slc_broker *broker, slc_vhost *vhost, slc_slice component, slc_slice name,
                         slc_parameter_done done, void *arg);

/** NULL: none. Valid until the next turn. */
const slc_parameter *slc_parameter_find(slc_broker *broker, const slc_vhost *vhost,
                                        slc_slice component, slc_slice name);
/** The cluster's name: the global parameter `cluster_name` once somebody set it, else otherwise. Valid until the next turn. */
const char *slc_cluster_name(slc_broker *broker, const char *otherwise);
/** In order of vhost id, component, name; globals first. */
void slc_broker_each_parameter(slc_broker *broker,
                               void (*each)(const slc_parameter *parameter, void *arg), void *arg);

/** What slc_parameter_set checks first. operator's texts: "Validation failed\n\n...\n". */
SLC_MUST_USE slc_err slc_parameter_check(bool global, slc_slice component, slc_slice name,
                                         const json_t *value, slc_error *error);
bool slc_parameter_component_known(slc_slice component);

/** A limit of component vhost-limits ("max-queues", "max-connections"); -1: none. */
int64_t slc_vhost_limit(slc_vhost *vhost, const char *limit);

#endif
