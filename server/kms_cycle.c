/*
 * What of a pool's keys lies on a disk of that pool: the reasoning, upon facts that kms_watch.c gathers, and what health says.
 *
 * A file counts as lying on this pool where the NBD device below it belongs to a process that is connected to this daemon
 * (nbd_owner.c); where that cannot be told it is said so, and where it can be ruled out nothing is said. A client counts as
 * a key server by its address alone, whatever its port. Whatever cannot be looked at counts as harmless. No locks, nothing
 * is written.
 */
#include "server/kms_cycle.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "server/health_check.h"
#include "server/nbd_owner.h"

/* ---- files --------------------------------------------------------------------------------------------------------- */

struct file_look {
    const struct kms_cycle_source *source;
    struct kms_cycle_facts *facts;
    const char *what, *path;
    bool data;
};

/* What is sure takes the place of what may be. */
static void layer_take(const struct block_stack_layer *layer, void *context)
{
    const struct file_look *look = context;
    const struct kms_cycle_source *source = look->source;
    struct kms_cycle_facts *facts = look->facts;
    bool fuse = layer->kind == BLOCK_STACK_FUSE, names = layer->backend[0] != '\0';
    enum nbd_owner owner = fuse ? NBD_OWNER_UNKNOWN : nbd_owner_find(layer->pid, source->proc, source->peers, source->peer_count);
    bool sure = owner == NBD_OWNER_THIS;
    if (owner == NBD_OWNER_OTHER || (facts->lies[0] != '\0' && (facts->lies_surely || !sure)))
        return;
    facts->lies_surely = sure;
    facts->holds_data = look->data;
    snprintf(facts->lies, sizeof facts->lies, "%s (%.200s) lies on %s%s%s%.60s%s", look->what, look->path,
             fuse ? "a loop device over a FUSE file system" : "/dev/", layer->name, names ? " (\"" : "", layer->backend,
             names ? "\")" : "");
}

static void file_look(const struct kms_cycle_source *source, struct kms_cycle_facts *facts, const char *what, const char *path,
                      bool data)
{
    struct file_look look = {source, facts, what, path, data};
    if (path != NULL)
        block_stack_walk(path, &source->roots, layer_take, &look);
}

static void files_look(const struct pool_conf *conf, const struct kms_cycle_source *source, struct kms_cycle_facts *facts)
{
    const struct provider_config *provider = conf->provider;
    file_look(source, facts, "the pool directory", conf->directory, false);
    if (provider != NULL) {
        file_look(source, facts, "the key file", provider->path, false);
        file_look(source, facts, "the certificate for the key servers", provider->certificate, false);
        file_look(source, facts, "the key for the key servers", provider->key, false);
        file_look(source, facts, "the certificate of the key servers", provider->ca, false);
    }
    for (size_t g = 0; g < conf->group_count; g++)
        for (size_t d = 0; d < conf->groups[g].device_count; d++)
            file_look(source, facts, "a device of the pool", conf->groups[g].devices[d].path, true);
}

/* ---- clients ------------------------------------------------------------------------------------------------------- */

/* As IPv6; false where it is neither. */
static bool address_of(const struct sockaddr_storage *any, struct in6_addr *address)
{
    if (any->ss_family == AF_INET6) {
        *address = ((const struct sockaddr_in6 *)any)->sin6_addr;
        return true;
    }
    if (any->ss_family != AF_INET)
        return false;
    *address = (struct in6_addr){.s6_addr = {[10] = 0xff, [11] = 0xff}};
    memcpy(&address->s6_addr[12], &((const struct sockaddr_in *)any)->sin_addr, 4);
    return true;
}

static bool is_same(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    struct in6_addr x, y;
    return address_of(a, &x) && address_of(b, &y) && memcmp(&x, &y, sizeof x) == 0;
}

static bool is_client(const struct kms_cycle_source *source, const struct kms_address *server)
{
    for (size_t i = 0; i < source->peer_count; i++)
        if (is_same(&source->peers[i].address, &server->address))
            return true;
    return false;
}

static void client_tell(const struct kms_address *server, struct kms_cycle_facts *facts)
{
    char host[NI_MAXHOST] = "?";
    (void)!getnameinfo((const struct sockaddr *)&server->address, sizeof server->address, host, sizeof host, NULL, 0,
                       NI_NUMERICHOST);
    snprintf(facts->client, sizeof facts->client, "an NBD client at %.64s has the address of key server %.200s (provider %s)", host,
             server->provider->servers[server->server], server->provider->name);
}

static void clients_look(const struct pool_conf *conf, const struct kms_cycle_source *source, struct kms_cycle_facts *facts)
{
    uint32_t found = 0; /* a bit for each server of the provider in force */
    _Static_assert(PROVIDER_SERVERS_MAX < 32, "each has one");
    for (size_t i = 0; i < source->address_count; i++) {
        const struct kms_address *server = &source->addresses[i];
        bool in_force = server->provider == conf->provider;
        if (!is_client(source, server))
            continue;
        if (in_force)
            found |= UINT32_C(1) << server->server;
        if (in_force || facts->client[0] == '\0')
            client_tell(server, facts);
    }
    if (conf->provider != NULL && conf->provider->server_count > 0)
        facts->all_servers = found == (UINT32_C(1) << conf->provider->server_count) - 1;
}

/* ---- the whole ----------------------------------------------------------------------------------------------------- */

static bool is_hosted(const struct provider_config *provider, const struct kms_cycle_source *source)
{
    for (size_t i = 0; i < source->address_count; i++)
        if (source->addresses[i].provider == provider && is_client(source, &source->addresses[i]))
            return true;
    return false;
}

/* A key that a TPM or key servers have wants a second way in, said at the swap. */
static void other_take(const struct provider_config *provider, struct kms_cycle_facts *facts)
{
    snprintf(facts->other, sizeof facts->other, "%s", provider->name);
    facts->other_alone = provider->server_count > 0 || (provider->seal != NULL && strcmp(provider->seal, "tpm") == 0);
}

void kms_cycle_find(const struct pool_conf *conf, const struct kms_cycle_source *source, struct kms_cycle_facts *facts)
{
    *facts = (struct kms_cycle_facts){0};
    if (conf->provider != NULL)
        snprintf(facts->provider, sizeof facts->provider, "%s", conf->provider->name);
    for (size_t i = 0; i < conf->provider_count && facts->other[0] == '\0'; i++)
        if (&conf->providers[i] != conf->provider && !is_hosted(&conf->providers[i], source))
            other_take(&conf->providers[i], facts);
    files_look(conf, source, facts);
    clients_look(conf, source, facts);
}

/* ---- health -------------------------------------------------------------------------------------------------------- */

static void swap_command(const struct health_facts *facts, struct finding *finding)
{
    const struct kms_cycle_facts *cycle = &facts->cycle;
    if (cycle->other[0] != '\0')
        snprintf(finding->command, sizeof finding->command, "%s key provider use %s%s", facts->self, cycle->other,
                 cycle->other_alone ? " --new-recovery print" : "");
    else
        snprintf(finding->command, sizeof finding->command, "%s key provider add NAME --type native --seal tpm", facts->self);
}

static void files_tell(const struct health_facts *facts, struct finding *finding)
{
    const struct kms_cycle_facts *cycle = &facts->cycle;
    finding->severity = cycle->lies_surely ? "error" : "warning";
    snprintf(finding->evidence, sizeof finding->evidence,
             cycle->lies_surely ? "%s, a disk of this very pool: after a power loss cofferd could not start without it, and the "
                                  "disk is not there before cofferd runs"
                                : "%s, and whose disk that is cannot be told: if it is one of this pool, cofferd could not start "
                                  "after a power loss",
             cycle->lies);
    snprintf(finding->command, sizeof finding->command, "stop cofferd, move %s to a disk that it does not serve",
             cycle->holds_data ? "the device's contents" : "it");
}

static void client_finding(const struct health_facts *facts, struct finding *finding)
{
    const struct kms_cycle_facts *cycle = &facts->cycle;
    finding->severity = cycle->all_servers ? "error" : "warning";
    snprintf(finding->evidence, sizeof finding->evidence,
             "%s%s: if its disk is in this pool, after a power loss that key server could not start before the pool%s",
             cycle->client, cycle->all_servers ? ", and no other server keeps the key" : "",
             cycle->all_servers ? ", nor the pool before the key server" : "");
    swap_command(facts, finding);
}

static void disk_finding(const struct health_facts *facts, struct finding *finding)
{
    const struct kms_cycle_facts *cycle = &facts->cycle;
    char more[48] = "";
    if (cycle->disks > 1)
        snprintf(more, sizeof more, " (and %u more)", cycle->disks - 1);
    finding->severity = "error";
    snprintf(finding->evidence, sizeof finding->evidence,
             "'%.300s'%s is the disk of key provider %s, whose key opens this very pool: after a power loss the pool could not "
             "start without that key server, nor the key server without its disk",
             cycle->disk, more, cycle->provider);
    swap_command(facts, finding);
}

void check_kms_on_pool(const struct health_facts *facts, struct finding *finding)
{
    const struct kms_cycle_facts *cycle = &facts->cycle;
    bool file = cycle->lies[0] != '\0';
    finding_good(finding, "nothing that opens the pool is seen on a disk of the pool");
    if (!facts->looked) {
        finding->severity = "note";
        snprintf(finding->evidence, sizeof finding->evidence,
                 "not looked at: coffer.conf, which names the files, cannot be read; `%s check` says why", facts->self);
        return;
    }
    if (file && cycle->lies_surely)
        files_tell(facts, finding);
    else if (cycle->disk[0] != '\0')
        disk_finding(facts, finding);
    else if (cycle->client[0] != '\0')
        client_finding(facts, finding);
    else if (file)
        files_tell(facts, finding);
}
