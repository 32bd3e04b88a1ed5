/* What pool_create() is about to make: everything that can be refused is refused while the plan is made, before
 * anything is written. */
#ifndef COFFER_ENGINE_POOL_CREATE_PLAN_H
#define COFFER_ENGINE_POOL_CREATE_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/uuid.h"
#include "crypto/provider.h"
#include "engine/coffer.h"

struct planned_device {
    char *path;      /* to open */
    char *conf_path; /* as the conf names it */
    struct uuid id;
    uint64_t size; /* bytes used */
    uint32_t slot_count;
    bool create;    /* a sparse file of the pool directory, to be made */
    bool overwrite; /* its contents may be destroyed */
    dev_t place;    /* with `inode`: what file or device it is */
    ino_t inode;
};

struct create_plan {
    const struct pool_create_options *options;
    bool directory_exists; /* and is empty */
    const char *group_name;
    struct uuid pool, group;
    struct provider_config provider; /* where encrypted; its path is joined to the directory */
    char *provider_path;
    char *kmip_files[3]; /* absolute paths: CA, certificate, key */
    struct provider_secret secret;
    size_t device_count;
    uint32_t segment_shift; /* of all devices */
    uint64_t memory;        /* the setting that the conf must have; 0: the default does */
    struct planned_device devices[GROUP_DEVICES_MAX];
    char *conf; /* text of coffer.conf */
    char *json; /* of each superblock */
};

/* Checks the options and the world; reads devices, writes nothing. After a failure too the plan holds what
 * create_plan_forget() frees. */
enum error create_plan_make(const struct pool_create_options *options, struct create_plan *plan) CHECKED;
void create_plan_forget(struct create_plan *plan);

#endif
