/* A pool on two devices whose files a test looks at, or whose operations it lets fail. It is not open yet. */
#ifndef COFFER_TESTS_UNIT_DEVICES_FIXTURE_H
#define COFFER_TESTS_UNIT_DEVICES_FIXTURE_H

#include "engine/device/kind.h"
#include "tests/unit/pool_fixture.h"

#define DEVICES 2

static char paths[DEVICES][160];
static uint64_t device_sizes[DEVICES] = {FIXTURE_SIZE, FIXTURE_SIZE};

/* Without `seal` it is not encrypted; `passphrase` goes with the seal of that name. */
static inline void devices_setup(const char *seal, const char *passphrase)
{
    const char *parent = getenv("TMPDIR"), *given[DEVICES];
    snprintf(fixture_root, sizeof fixture_root, "%.40s/coffer-XXXXXX", parent != NULL ? parent : "/tmp");
    assert_non_null(mkdtemp(fixture_root));
    snprintf(fixture_directory, sizeof fixture_directory, "%s/pool", fixture_root);
    for (size_t i = 0; i < DEVICES; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/disk%zu", fixture_root, i);
        assert_fine(device_create_file(paths[i], device_sizes[i]));
        given[i] = paths[i];
    }
    assert_fine(pool_create(&(struct pool_create_options){.directory = fixture_directory,
                                                          .device_paths = given,
                                                          .device_count = DEVICES,
                                                          .encryption = seal != NULL,
                                                          .fingerprint = POOL_FINGERPRINT_XXH3,
                                                          .seal = seal,
                                                          .passphrase = passphrase,
                                                          .passphrase_size = passphrase ? strlen(passphrase) : 0}));
}

/* What the pool left there; one that is open is closed first. */
static inline int devices_teardown(void **context)
{
    (void)context;
    if (pool != NULL)
        assert_fine(pool_close(pool));
    pool = NULL;
    return nftw(fixture_root, fixture_remove, 8, FTW_DEPTH | FTW_PHYS);
}

#endif
