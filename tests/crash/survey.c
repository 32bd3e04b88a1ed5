/*
 * The survey believes nothing that it hears but contents: objects may be missing, shorter or under an old name. A life
 * (lives.h) is known by its name, whatever became of it. One thread.
 */
#include "tests/crash/survey.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "tests/crash/child.h"
#include "tests/crash/content.h"
#include "tests/crash/families.h"
#include "tests/crash/imports.h"
#include "tests/crash/lives.h"

static enum error checked(enum error error, const char *what)
{
    if (error == ERROR_BUG || error == ERROR_NO_MEMORY)
        fail("%s: %s: %s", what, error_name(error), error_sentence(error));
    return error;
}

static void keep_error(struct request *request, void *context)
{
    *(enum error *)context = request->error;
}

/* ---- what was read ------------------------------------------------------------------------------------------------- */

static void note(struct survey *survey, const char *name, uint64_t offset, uint64_t hash)
{
    if (survey->notes_count == survey->notes_capacity) {
        size_t capacity = MAX(2 * survey->notes_capacity, (size_t)1024);
        struct survey_note *notes = session_take(capacity * sizeof(*notes));
        if (survey->notes_count != 0)
            memcpy(notes, survey->notes, survey->notes_count * sizeof(*notes));
        free(survey->notes);
        survey->notes = notes;
        survey->notes_capacity = capacity;
    }
    uint64_t place = content_hash(name, strlen(name)) ^ offset * UINT64_C(0x9fb21c651e98df25);
    survey->notes[survey->notes_count++] = (struct survey_note){place, hash};
}

static int compare(const void *one, const void *other)
{
    const struct survey_note *a = one, *b = other;
    return a->place < b->place ? -1 : a->place > b->place;
}

static void notes_sort(struct survey *survey)
{
    if (survey->notes_count != 0)
        qsort(survey->notes, survey->notes_count, sizeof(*survey->notes), compare);
}

void survey_demand(const struct survey *before, const struct survey *after)
{
    for (size_t b = 0, a = 0; b < before->notes_count; b++) {
        const struct survey_note *was = &before->notes[b];
        while (a < after->notes_count && after->notes[a].place < was->place)
            a++;
        bool there = a < after->notes_count && after->notes[a].place == was->place;
        if (!there || after->notes[a].hash != was->hash)
            fail("a block that could be read before a repair %s behind it (of %zu blocks, %zu are left: %s)",
                 there ? "is another" : "cannot be", before->notes_count, after->notes_count, error_name(after->refused));
    }
}

/* ---- reading ------------------------------------------------------------------------------------------------------- */

static void survey_cell(struct session *session, struct volume *volume, const char *name, const struct cell *cell,
                        uint64_t offset, uint64_t grain, struct survey *survey)
{
    unsigned char content[BLOCK];
    enum error error = ERROR_BUG;
    struct request request = {.type = REQUEST_READ, .offset = offset, .length = grain, .data = content};
    volume_execute(volume, &request, 1, keep_error, &error);
    if (checked(error, "read") != ERROR_NONE) {
        survey->unreadable++;
        return;
    }
    uint64_t hash = content_hash(content, grain);
    survey->read++;
    note(survey, name, offset, hash);
    if (cell_survives(cell, &session->clock, hash))
        return;
    survey->older++;
    if (!cell_wrote(cell, &session->clock, hash)) {
        cell_print(cell, &session->clock);
        fail("after damage, the block at %llu holds what was never written to it: %016llx", (unsigned long long)offset,
             (unsigned long long)hash);
    }
}

static void survey_volume(struct session *session, struct pool *pool, unsigned index, struct survey *survey)
{
    struct volume_model *model = &session->volumes[index];
    struct volume *volume;
    if (checked(volume_open(pool, volume_names[index], false, &volume), "open of a volume") != ERROR_NONE)
        return;
    for (unsigned w = 0; w < session->settings.workers; w++)
        for (uint64_t b = 0; b < session->settings.stripe_blocks; b++)
            survey_cell(session, volume, volume_names[index], &model->stripes[w][b], stripe_offset(index, w) + b * BLOCK, BLOCK,
                        survey);
    for (uint64_t b = 0; b < SHARED_BLOCKS; b++)
        survey_cell(session, volume, volume_names[index], &model->shared[b], shared_offset(session, index) + b * BLOCK, BLOCK,
                    survey);
    for (uint64_t q = 0; q < SPLIT_BLOCKS * QUARTERS; q++)
        survey_cell(session, volume, volume_names[index], &model->split[q / QUARTERS][q % QUARTERS],
                    split_offset(session, index) + q * QUARTER, QUARTER, survey);
    volume_close(volume);
}

static void survey_life(struct session *session, struct pool *pool, const char *name, struct life *life,
                        struct survey *survey)
{
    struct volume *volume;
    if (checked(volume_open(pool, name, false, &volume), "open of a life") != ERROR_NONE)
        return;
    uint64_t size = volume_size(volume);
    if (size > life_bytes(session, life, LIFE_BLOCKS))
        fail("'%s' has grown to %llu bytes", name, (unsigned long long)size);
    for (uint64_t b = 0; life_bytes(session, life, b) < size; b++)
        survey_cell(session, volume, name, &life->cells[b], life_bytes(session, life, b), BLOCK, survey);
    volume_close(volume);
}

/* Of a family, known by what was written to it and to those of which it is a clone: which version it was is not asked. What an
 * import writes to may be of any. */
static void survey_version(struct session *session, struct pool *pool, const char *name, bool snapshot,
                           struct survey *survey)
{
    unsigned family;
    if (sscanf(name, "family-%u", &family) != 1)
        family = FAMILIES;
    unsigned char content[BLOCK];
    struct volume *volume;
    if (checked(volume_open(pool, name, snapshot, &volume), "open of a version") != ERROR_NONE)
        return;
    for (uint64_t b = 0; b * BLOCK < volume_size(volume); b++) {
        enum error error = ERROR_BUG;
        struct request request = {.type = REQUEST_READ, .offset = b * BLOCK, .length = BLOCK, .data = content};
        volume_execute(volume, &request, 1, keep_error, &error);
        bool read = checked(error, "read") == ERROR_NONE;
        *(read ? &survey->read : &survey->unreadable) += 1;
        if (read)
            note(survey, name, b * BLOCK, content_hash(content, BLOCK));
        if (read && !families_wrote(session, family, b, content_hash(content, BLOCK)))
            fail("after damage, block %llu of %s holds what was never written there", (unsigned long long)b, name);
    }
    volume_close(volume);
}

static void survey_snapshots(struct session *session, struct pool *pool, struct survey *survey)
{
    struct snapshot_info *infos;
    size_t count;
    if (checked(snapshot_list(pool, NULL, NULL, &infos, &count), "list of snapshots") != ERROR_NONE)
        return;
    for (size_t i = 0; i < count; i++)
        if (families_know(infos[i].object) && !infos[i].deleting)
            survey_version(session, pool, infos[i].name, true, survey);
    free(infos);
}

static void survey_pool(struct session *session, struct pool *pool, struct survey *survey)
{
    struct object_info *infos;
    size_t count;
    for (unsigned v = 0; v < VOLUMES; v++)
        survey_volume(session, pool, v, survey);
    if (checked(object_list(pool, &infos, &count), "list of objects") != ERROR_NONE)
        return;
    for (size_t i = 0; i < count; i++) {
        unsigned number, name;
        bool is_life = sscanf(infos[i].name, "life-%u-%u", &number, &name) == 2 && number < LIVES;
        if (is_life && infos[i].deleted == 0 && !infos[i].deleting)
            survey_life(session, pool, infos[i].name, &session->lives[number], survey);
        bool is_version = families_know(infos[i].name) || imports_know(infos[i].name);
        if (is_version && infos[i].deleted == 0 && !infos[i].deleting)
            survey_version(session, pool, infos[i].name, false, survey);
    }
    free(infos);
    survey_snapshots(session, pool, survey);
}

static void ignore_finding(const char *sentence, void *context)
{
    (void)sentence, (void)context;
}

void child_survey(struct session *session, struct survey *survey)
{
    struct pool_open_options options = child_open_options(session);
    struct check_report report = {0};
    struct pool *pool;
    child_begin(session);
    atomic_store(&session->phase, PHASE_OPENING);
    survey->refused = checked(pool_open(session->pool, &options, &pool), "open of the pool");
    if (survey->refused == ERROR_NONE) {
        atomic_store(&session->phase, PHASE_COMPARING);
        survey_pool(session, pool, survey);
        atomic_store(&session->phase, PHASE_CLOSING);
        survey->refused = checked(pool_close(pool), "close of the pool");
    }
    notes_sort(survey);
    checked(pool_check(session->pool, &options, &(struct check_listener){.found = ignore_finding}, &report),
            "check of the pool");
}
