/*
 * The circle that shows after a power loss: what opens the pool lies on a disk of the pool. `health` tells it (KMS_ON_POOL)
 * where it can be seen: the pool directory, the key files or the devices lie on an NBD device that this daemon serves; an NBD
 * client has the address of a key server; a disk is tagged as that of the key provider in force (object set --hosts).
 */
#ifndef COFFER_SERVER_KMS_CYCLE_H
#define COFFER_SERVER_KMS_CYCLE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "engine/device/block_stack.h"
#include "engine/pool/conf.h"
#include "server/nbd/peer.h"

#define KMS_CYCLE_TEXT      512
#define KMS_ADDRESSES_MAX   (4 * PROVIDER_SERVERS_MAX)

struct kms_cycle_facts {
    char lies[KMS_CYCLE_TEXT];   /* what lies on an NBD device, and on which; empty: nothing */
    bool lies_surely;            /* which this daemon serves; else nobody can tell who does */
    bool holds_data;             /* it is a device of the pool */
    char client[KMS_CYCLE_TEXT]; /* an NBD client that is a key server; empty: none */
    bool all_servers;            /* each server of the provider in force is one */
    char disk[KMS_CYCLE_TEXT];   /* a disk that is tagged as the provider's in force; empty: none */
    unsigned disks;
    char provider[PROVIDER_NAME_MAX + 1], other[PROVIDER_NAME_MAX + 1]; /* in force; one to swap to, or empty */
    bool other_alone; /* in a TPM or on key servers */
};

/* An address of a key server. */
struct kms_address {
    const struct provider_config *provider;
    size_t server; /* its index there */
    struct sockaddr_storage address;
};

/* Where the facts come from: the system, or a test's picture of it. */
struct kms_cycle_source {
    struct block_stack_roots roots;
    const char *proc; /* /proc */
    const struct nbd_peer *peers;
    size_t peer_count;
    const struct kms_address *addresses;
    size_t address_count;
};
/* The first two of the three; pure but for reading files. */
void kms_cycle_find(const struct pool_conf *conf, const struct kms_cycle_source *source, struct kms_cycle_facts *facts);

struct pool;
struct nbd_server;
typedef size_t kms_cycle_peers(struct nbd_server *nbd, struct nbd_peer *peers, size_t max); /* nbd_peers() */
/* One a process; a thread that looks the names of key servers up, so that nobody else waits for that. Both outlive it. */
enum error kms_cycle_start(struct pool *pool, struct nbd_server *nbd, kms_cycle_peers *peers) CHECKED;
void kms_cycle_leave(void); /* before the NBD server ends: its clients are asked for no more */
void kms_cycle_stop(void);  /* behind that; both also where it was not started */
/* All three, as the system is now; nothing where coffer.conf cannot be read. Any thread that was started later. */
void kms_cycle_look(struct pool *pool, struct kms_cycle_facts *facts);

#endif
