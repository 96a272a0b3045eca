/** What only the daemon knows, for the lists: memory, disk, descriptors, listeners, store. Thread: the loop. */
#ifndef SLC_APP_STATUS_H
#define SLC_APP_STATUS_H

#include "amqp091/amqp091.h"
#include "app/instance.h"
#include "app/monitor.h"
#include "app/settings.h"
#include "http/http.h"
#include "net/listener.h"

typedef struct slc_status_sources {
    const slc_settings *settings;
    slc_world *world;
    const slc_monitor *monitor;
    const slc_instance *instance;
    const slc_amqp_server *amqp;
    slc_listener *const *listeners;
    uint32_t listener_count;
    const slc_tls *tls[2]; // of AMQP and of the management API; NULL: none
    uint64_t started_ns;
    bool ready;
} slc_status_sources;

/** Strings and arrays in out live in statics here, until the next call. */
void slc_status_fill(slc_http_status *out, const slc_status_sources *sources);

#endif
