#include "app/cgroup.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t limit_read(const char *path)
{
    FILE *in = fopen(path, "re");
    if (in == NULL)
        return UINT64_MAX;
    char line[64], *end = line;
    uint64_t limit = fgets(line, sizeof line, in) != NULL ? strtoull(line, &end, 10) : 0;
    fclose(in);
    return end != line && limit > 0 ? limit : UINT64_MAX; // "max": no digits
}

/** The smallest limit of a group and of those above it, up to where they are mounted. */
static uint64_t limit_upwards(const char *root, const char *mounted, const char *group,
                              const char *file)
{
    char at[PATH_MAX], path[2 * PATH_MAX];
    uint64_t least = UINT64_MAX;
    snprintf(at, sizeof at, "%s", group);
    for (;;) {
        char *last = strrchr(at, '/');
        if (last != NULL && last[1] == '\0')
            *last = '\0';
        snprintf(path, sizeof path, "%s/sys/fs/cgroup%s%s/%s", root, mounted, at, file);
        uint64_t limit = limit_read(path);
        least = limit < least ? limit : least;
        last = strrchr(at, '/');
        if (last == NULL)
            return least;
        *last = '\0';
    }
}

static bool names_memory(char *controllers)
{
    char *rest = NULL;
    for (char *one = strtok_r(controllers, ",", &rest); one != NULL;
         one = strtok_r(NULL, ",", &rest)) {
        if (strcmp(one, "memory") == 0)
            return true;
    }
    return false;
}

uint64_t slc_cgroup_memory_limit(const char *root)
{
    char path[PATH_MAX], line[PATH_MAX + 256];
    uint64_t least = UINT64_MAX;
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *in = fopen(path, "re");
    if (in == NULL)
        return limit_upwards(root, "", "", "memory.max");
    while (fgets(line, sizeof line, in) != NULL) { // number:controllers:group
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (group == NULL)
            continue;
        *group++ = '\0';
        uint64_t limit = UINT64_MAX;
        if (controllers[1] == '\0') // version 2
            limit = limit_upwards(root, "", group, "memory.max");
        else if (names_memory(controllers + 1))
            limit = limit_upwards(root, "/memory", group, "memory.limit_in_bytes");
        least = limit < least ? limit : least;
    }
    fclose(in);
    return least;
}
