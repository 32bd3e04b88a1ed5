/*
 * A daemon that is started by hand gets the soft limit of a login, 1024 as a rule, which NBD connections alone can use up: then
 * no command is accepted, the witness cannot be written, and the conf cannot be read. So it raises that, and bounds the
 * connections by what there is. One thread, before the daemon starts any other; nothing is stored.
 */
#include "server/descriptors.h"

#include <sys/resource.h>

#include "base/memory.h"
#include "server/nbd/connection.h"
#include "server/nbd/nbd.h"

#define PER_CONNECTION (1 + CONNECTION_THREADS_MAX) /* its socket, and a ring of each thread */

uint64_t descriptors_take(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return DESCRIPTORS_KEPT;
    struct rlimit all = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
    return setrlimit(RLIMIT_NOFILE, &all) == 0 ? all.rlim_cur : limit.rlim_cur;
}

unsigned descriptors_connections(uint64_t descriptors)
{
    uint64_t free = descriptors - MIN(descriptors, (uint64_t)DESCRIPTORS_KEPT);
    return (unsigned)MAX(MIN(free / PER_CONNECTION, (uint64_t)NBD_CONNECTIONS_DEFAULT), (uint64_t)1);
}
