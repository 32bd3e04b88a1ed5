/* An engine in memory for the tests of the control socket and of `coffer`: objects in a table, and knobs. */
#ifndef COFFER_TESTS_UNIT_CONTROL_FAKE_H
#define COFFER_TESTS_UNIT_CONTROL_FAKE_H

#include <pthread.h>

#include "engine/coffer.h"

#define FAKE_TRASH_SECONDS (7 * 86400)
#define FAKE_OBJECTS_MAX   8

struct pool {
    pthread_mutex_t lock;
    struct pool_status status;
    const char *directory; /* a real one for what looks at files */
    struct object_info objects[FAKE_OBJECTS_MAX];
    size_t object_count;
    const char *passphrase;  /* NULL: the key is a file */
    const char *seal;        /* of the key; NULL: as the passphrase has it */
    const char *audit_fault;    /* what is wrong with the audit; NULL: nothing */
    uint64_t kek_number, roots; /* changes of the key, the first of which has number 1; new roots */
    uint64_t dry_runs;          /* of such changes */
    char used[64], new_passphrase[64]; /* of the last */
    char retired_provider[64];
    bool destroyed;
    unsigned usage_delay_ms; /* of object_usage */
    enum error usage_error;
    struct snapshot_info snapshots[FAKE_OBJECTS_MAX];
    size_t snapshot_count;
    size_t snapshots_repeated; /* a list has the first one so often; 0: as they are */
    size_t lists_page;      /* snapshots of one answer; 0: as asked */
    unsigned lists_cut_off; /* lists that cannot go on, since that behind which they would is gone */
    struct change_extent changes[FAKE_OBJECTS_MAX]; /* of everything since every snapshot; what follows is unchanged */
    size_t change_count;
    size_t changes_page; /* extents of one answer */
    unsigned changes_delay_ms;
    bool swaps_names;    /* somebody else exchanges the names of the first two objects and snapshots when one is looked at */
    struct uuid rolled_back; /* the object, of the last */
    bool trash_keeps_nothing; /* what is deleted is freed before anybody looks */
    unsigned volumes;    /* open */
    char opened[256];    /* the last one, as it was asked for */
    struct import_request import; /* of the last begin or finish; its strings are copies below */
    char import_object[256], import_snapshot[256];
    uint64_t import_position;
    unsigned imports_finished;
    struct scrub_status scrub;
    struct deep_rekey_status deep;
    unsigned deep_steps; /* looks at it until it is complete; 0: as it is */
    bool stopped;        /* somebody else cancels the scrub, pauses the deep rekey, when it was looked at once */
    uint64_t deep_lost;  /* blocks, then */
    enum error slots_error; /* of looks at the tag keys, the last of all that is told of keys */
    const char *deep_refusal; /* why none begins; NULL: it does */
    struct damage_info damages[4];
    size_t damage_count;
    bool damage_more;
};

/* What the offline functions were asked and what they answer. */
struct fake_offline {
    enum error create_error, check_error, repair_error;
    struct pool_create_options created; /* strings of the caller: look at them before it returns */
    char directory[256], group[64], device[64], overwrite[64], passphrase[64], tcti[64], copy[64], copy_passphrase[64];
    const char *wanted_passphrase; /* of check */
    bool loses, losses_unknown;
    unsigned losses; /* so many more */
    size_t findings;
    struct pool_repair_report repaired;
    bool discarded;
    char evidence[64];
    unsigned creates, checks, repairs, erases;
};
extern struct fake_offline fake_offline;

struct pool *fake_create(void);
void fake_destroy(struct pool *pool);
struct object_info *fake_add(struct pool *pool, const char *name, uint64_t size);

#endif
