/** The memory limit of the control group that the daemon runs in: a service with MemoryMax=, a container.
 *
 *  Both versions of control groups count, and every group above ours: the smallest limit is what the kernel ends us at. Where the
 *  groups of a container are not those that /proc names, its own limit stands at the top of what is mounted. Thread: any.
 */
#ifndef SLC_APP_CGROUP_H
#define SLC_APP_CGROUP_H

#include <stdint.h>

/** Bytes; UINT64_MAX when there is no limit, or none can be read. root is put before /proc and /sys: "", or a test's directory. */
uint64_t slc_cgroup_memory_limit(const char *root);

#endif
