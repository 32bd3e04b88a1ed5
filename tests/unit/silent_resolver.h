/* A resolver (--wrap=getaddrinfo) that says nothing of names while somebody holds `resolver`, and then that there are none. */
#ifndef COFFER_TESTS_UNIT_SILENT_RESOLVER_H
#define COFFER_TESTS_UNIT_SILENT_RESOLVER_H

#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>

static pthread_mutex_t resolver = PTHREAD_MUTEX_INITIALIZER;
static atomic_int asked, answered;

int __real_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **list);
int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **list);
int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **list)
{
    if (hints->ai_flags & AI_NUMERICHOST)
        return __real_getaddrinfo(host, port, hints, list);
    atomic_fetch_add(&asked, 1);
    pthread_mutex_lock(&resolver);
    pthread_mutex_unlock(&resolver);
    atomic_fetch_add(&answered, 1);
    return EAI_NONAME;
}

#endif
