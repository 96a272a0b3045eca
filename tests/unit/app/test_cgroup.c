#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/cgroup.h"

static char root[] = "/tmp/sluice-cgroup-XXXXXX";

static void shell(const char *format, const char *arg)
{
    char command[600];
    snprintf(command, sizeof command, format, root, arg);
    cr_assert(eq(int, system(command), 0), "%s", command);
}

static void setup(void)
{
    cr_assert(ne(ptr, mkdtemp(root), NULL));
    shell("mkdir -p %s/proc/self", "");
}

static void teardown(void)
{
    shell("rm -r %s", "");
}

TestSuite(cgroup, .init = setup, .fini = teardown, .timeout = 60);

static void put(const char *path, const char *text)
{
    char whole[300], dir[300];
    snprintf(whole, sizeof whole, "%s/%s", root, path);
    snprintf(dir, sizeof dir, "%s", path);
    *strrchr(dir, '/') = '\0';
    shell("mkdir -p %s/%s", dir);
    FILE *out = fopen(whole, "w");
    cr_assert(ne(ptr, out, NULL));
    fputs(text, out);
    fclose(out);
}

Test(cgroup, service_with_a_limit)
{
    put("proc/self/cgroup", "0::/system.slice/sluiced.service\n");
    put("sys/fs/cgroup/system.slice/sluiced.service/memory.max", "268435456\n");
    put("sys/fs/cgroup/system.slice/memory.max", "max\n");
    cr_expect(eq(u64, slc_cgroup_memory_limit(root), 256u << 20));
}

Test(cgroup, the_slice_above_has_less)
{
    put("proc/self/cgroup", "0::/system.slice/sluiced.service\n");
    put("sys/fs/cgroup/system.slice/sluiced.service/memory.max", "268435456\n");
    put("sys/fs/cgroup/system.slice/memory.max", "134217728\n");
    cr_expect(eq(u64, slc_cgroup_memory_limit(root), 128u << 20));
}

Test(cgroup, container_that_sees_itself_as_the_root)
{
    put("proc/self/cgroup", "0::/\n");
    put("sys/fs/cgroup/memory.max", "1000000000\n");
    cr_expect(eq(u64, slc_cgroup_memory_limit(root), 1000000000u));
}

Test(cgroup, first_version)
{
    put("proc/self/cgroup", "9:name=systemd:/\n5:devices:/a\n4:cpu,memory:/jobs/sluice\n0::/\n");
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("sys/fs/cgroup/memory/jobs/memory.limit_in_bytes", "9223372036854771712\n");
    put("sys/fs/cgroup/memory/jobs/sluice/memory.limit_in_bytes", "268435456\n");
    cr_expect(eq(u64, slc_cgroup_memory_limit(root), 256u << 20));
}

Test(cgroup, first_version_in_a_container_that_mounts_its_own)
{
    put("proc/self/cgroup", "4:memory:/docker/0123456789ab\n");
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n");
    cr_expect(eq(u64, slc_cgroup_memory_limit(root), 256u << 20));
}

Test(cgroup, no_limit)
{
    cr_expect(eq(u64, slc_cgroup_memory_limit(root), UINT64_MAX));
    put("proc/self/cgroup", "nothing of the kind\n0::/system.slice/sluiced.service\n");
    put("sys/fs/cgroup/system.slice/sluiced.service/memory.max", "max\n");
    put("sys/fs/cgroup/system.slice/memory.max", "\n");
    cr_expect(eq(u64, slc_cgroup_memory_limit(root), UINT64_MAX));
}
