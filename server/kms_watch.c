/*
 * What kms_cycle.c reasons upon, as the system is: clients, addresses of key servers, tags of disks.
 *
 * To look a name up may take as long as the resolver's limits, so a thread of its own (chores.h) does that, every few minutes and
 * whenever somebody asked for servers that it has not looked up yet; who asks takes what there is, and numeric addresses at
 * once. Nor does the end wait for the resolver (kmip/link.h): it may be a guest of this pool, and gone. A reader of the NBD
 * server's list counts itself in, so that the server ends only after it. The lock is held for copying and waiting only.
 * Nothing is stored: a crash loses addresses that the next start looks up again.
 */
#include "server/kms_cycle.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/thread.h"
#include "crypto/kmip/link.h"
#include "engine/coffer.h"
#include "server/chores.h"
#include "server/nbd/nbd.h"

#define PAUSE        (300 * CLOCK_SECOND)
#define PATIENCE     (30 * CLOCK_SECOND) /* with the resolver, for each name */
#define PEERS_MAX    (NBD_CONNECTIONS_DEFAULT + 32)
#define PER_SERVER   4 /* addresses */
#define HOSTS_MAX    64

struct host {
    char name[KMIP_HOST_MAX + 1];
    struct sockaddr_storage addresses[PER_SERVER];
    size_t count;
};

static struct {
    bool running;
    struct pool *pool;
    kms_cycle_peers *peers;
    struct chores chores;
    struct mutex lock; /* RANK_LEAF; guards what follows */
    struct condition read; /* somebody read its list */
    struct nbd_server *nbd GUARDED_BY(lock);
    unsigned readers GUARDED_BY(lock); /* of its list */
    struct host hosts[HOSTS_MAX] GUARDED_BY(lock); /* by name, as they were looked up last */
    size_t host_count GUARDED_BY(lock);
} watch;

/* ---- names ---------------------------------------------------------------------------------------------------------- */

static void addresses_copy(struct host *host, struct addrinfo *infos)
{
    for (const struct addrinfo *one = infos; one != NULL && host->count < PER_SERVER; one = one->ai_next)
        if (one->ai_addrlen <= sizeof host->addresses[0])
            memcpy(&host->addresses[host->count++], one->ai_addr, one->ai_addrlen);
    freeaddrinfo(infos);
}

static void number_read(struct host *host)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST}, *infos;
    host->count = 0;
    if (getaddrinfo(host->name, NULL, &hints, &infos) == 0)
        addresses_copy(host, infos);
}

static void name_look_up(struct host *host)
{
    struct kmip_server server = {.port = KMIP_PORT};
    struct addrinfo *infos;
    memcpy(server.host, host->name, sizeof host->name);
    if (kmip_server_find(&server, clock_monotonic() + PATIENCE, &infos) == ERROR_NONE)
        addresses_copy(host, infos);
    error_forget();
}

/* The names that coffer.conf has now, each once. */
static size_t hosts_name(struct host hosts[HOSTS_MAX])
{
    struct pool_conf *conf;
    size_t count = 0;
    if (pool_conf_read(pool_directory(watch.pool), &conf) != ERROR_NONE) {
        error_forget();
        return 0;
    }
    for (size_t p = 0; p < conf->provider_count; p++)
        for (size_t s = 0; s < conf->providers[p].server_count && count < HOSTS_MAX; s++) {
            struct kmip_server server;
            size_t i = 0;
            if (kmip_server_parse(conf->providers[p].servers[s], &server) != ERROR_NONE)
                continue;
            while (i < count && strcmp(hosts[i].name, server.host) != 0)
                i++;
            if (i == count)
                memcpy(hosts[count++].name, server.host, sizeof server.host);
        }
    pool_conf_destroy(conf);
    return count;
}

static uint64_t names_refresh(void *context)
{
    AUTO_FREE struct host *hosts = memory_zeroed(HOSTS_MAX, sizeof *hosts);
    (void)context;
    if (hosts == NULL)
        return PAUSE;
    size_t count = hosts_name(hosts);
    for (size_t i = 0; i < count && !kmip_links_are_abandoned(); i++)
        name_look_up(&hosts[i]);
    mutex_lock(&watch.lock);
    memcpy(watch.hosts, hosts, count * sizeof *hosts);
    watch.host_count = count;
    mutex_unlock(&watch.lock);
    return PAUSE;
}

/* A name that nobody looked up yet is from now on. */
static void host_find(struct host *host)
{
    number_read(host);
    if (host->count > 0 || !watch.running)
        return;
    mutex_lock(&watch.lock);
    size_t i = 0;
    while (i < watch.host_count && strcmp(watch.hosts[i].name, host->name) != 0)
        i++;
    bool known = i < watch.host_count;
    if (known)
        *host = watch.hosts[i];
    mutex_unlock(&watch.lock);
    if (!known)
        chores_wake(&watch.chores);
}

static size_t addresses_take(const struct pool_conf *conf, struct kms_address addresses[KMS_ADDRESSES_MAX])
{
    size_t count = 0;
    for (size_t p = 0; p < conf->provider_count; p++)
        for (size_t s = 0; s < conf->providers[p].server_count; s++) {
            struct kmip_server server;
            struct host host;
            if (kmip_server_parse(conf->providers[p].servers[s], &server) != ERROR_NONE)
                continue;
            memcpy(host.name, server.host, sizeof host.name);
            host_find(&host);
            for (size_t i = 0; i < host.count && count < KMS_ADDRESSES_MAX; i++)
                addresses[count++] = (struct kms_address){&conf->providers[p], s, host.addresses[i]};
        }
    return count;
}

/* ---- clients and disks ------------------------------------------------------------------------------------------------ */

static size_t peers_take(struct nbd_peer peers[PEERS_MAX])
{
    if (!watch.running)
        return 0;
    mutex_lock(&watch.lock);
    struct nbd_server *nbd = watch.nbd;
    watch.readers += nbd != NULL;
    mutex_unlock(&watch.lock);
    if (nbd == NULL)
        return 0;
    size_t count = watch.peers(nbd, peers, PEERS_MAX);
    mutex_lock(&watch.lock);
    watch.readers--;
    condition_broadcast(&watch.read);
    mutex_unlock(&watch.lock);
    return count;
}

static void disks_look(struct pool *pool, struct kms_cycle_facts *facts)
{
    AUTO_FREE struct object_info *infos = NULL;
    size_t count;
    if (facts->provider[0] == '\0' || object_list(pool, &infos, &count) != ERROR_NONE)
        return;
    for (size_t i = 0; i < count; i++) {
        const char *colon = strchr(infos[i].hosts, ':');
        if (infos[i].deleted != 0 || infos[i].deleting || colon == NULL || strcmp(colon + 1, facts->provider) != 0)
            continue;
        if (facts->disks++ == 0)
            snprintf(facts->disk, sizeof facts->disk, "%s", infos[i].name);
    }
}

static void look(struct pool *pool, const struct pool_conf *conf, struct kms_cycle_facts *facts)
{
    AUTO_FREE struct nbd_peer *peers = memory_zeroed(PEERS_MAX, sizeof *peers);
    AUTO_FREE struct kms_address *addresses = memory_zeroed(KMS_ADDRESSES_MAX, sizeof *addresses);
    if (peers == NULL || addresses == NULL)
        return;
    struct kms_cycle_source source = {.roots = block_stack_system, .proc = "/proc", .peers = peers, .addresses = addresses};
    source.peer_count = peers_take(peers);
    source.address_count = addresses_take(conf, addresses);
    kms_cycle_find(conf, &source, facts);
    disks_look(pool, facts);
}

void kms_cycle_look(struct pool *pool, struct kms_cycle_facts *facts)
{
    struct pool_conf *conf;
    *facts = (struct kms_cycle_facts){0};
    if (pool_conf_read(pool_directory(pool), &conf) == ERROR_NONE) {
        look(pool, conf, facts);
        pool_conf_destroy(conf);
    }
    error_forget();
}

/* ---- life ----------------------------------------------------------------------------------------------------------- */

enum error kms_cycle_start(struct pool *pool, struct nbd_server *nbd, kms_cycle_peers *peers)
{
    const struct chore chore = {names_refresh, 0};
    ASSERT(!watch.running);
    watch.pool = pool;
    watch.peers = peers;
    mutex_init(&watch.lock, RANK_LEAF);
    condition_init(&watch.read);
    mutex_lock(&watch.lock);
    watch.nbd = nbd;
    mutex_unlock(&watch.lock);
    TRY(chores_start(&watch.chores, "kms-watch", &chore, 1, NULL));
    watch.running = true;
    return ERROR_NONE;
}

void kms_cycle_leave(void)
{
    if (!watch.running)
        return;
    chores_leave(&watch.chores);
    mutex_lock(&watch.lock);
    watch.nbd = NULL;
    while (watch.readers > 0)
        condition_wait(&watch.read, &watch.lock);
    mutex_unlock(&watch.lock);
}

void kms_cycle_stop(void)
{
    chores_stop(&watch.chores);
    watch.running = false;
}
