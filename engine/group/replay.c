/*
 * Replay. An append counts if it stands at the place named by the one before (or by a joint), states that one's tag,
 * and its own tag and the tags of all its units verify. What fails is read again from the device before anything follows
 * from that, until it reads twice the same: what was changed on its way, and not on the disk, would else be cut off for good.
 * What fails behind the last sequence that a completed flush covers is a torn tail: the end. What fails before it is damage,
 * and never cut off; so is what fails before a joint, for the open that recorded it had read, and made durable, all that stands
 * before it.
 *
 * A crash during replay is harmless: nothing was written, and the next open replays the same.
 */
#include "engine/group/replay.h"

#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/message.h"
#include "crypto/hierarchy.h"
#include "crypto/kdf.h"
#include "engine/group/replay_chain.h"

#define READINGS_MAX 8 /* of which no two that follow each other are the same: the device is broken */

static void joint_note(struct replay *replay, const struct place *next)
{
    for (unsigned i = replay->joints_met; i < replay->checkpoint->joint_count; i++)
        if (&replay->checkpoint->joints[i].next == next)
            replay->joints_met = i + 1;
}

static enum error append_try(struct replay *replay, struct replay_append *read)
{
    TRY(replay_append_read(replay, &replay->place, read));
    if (memcmp(read->append->previous, replay->tag, sizeof read->append->previous) != 0)
        return ERROR_NOT_FOUND;
    return replay_append_judge(read);
}

/* Zeros where there is nothing to read. Where a segment has no header it is of what stands there instead: that may be misread
 * like anything else. */
static enum error reading_digest(const struct replay_append *read, uint8_t digest[32])
{
    memset(digest, 0, 32);
    return read->append ? hmac_sha256(kek_public, read->append, read->size, digest) : ERROR_NONE;
}

/* The next append; ERROR_NOT_FOUND, or not sound, only where the bytes on the device are so. */
static enum error append_get(struct replay *replay, struct replay_append *read)
{
    uint8_t seen[32], digest[32];
    for (unsigned readings = 1; readings <= READINGS_MAX; readings++) {
        enum error error = append_try(replay, read);
        if (error ? error != ERROR_NOT_FOUND : read->sound)
            return error;
        TRY(reading_digest(read, digest));
        if (readings > 1 && memcmp(seen, digest, sizeof seen) == 0)
            return error;
        memcpy(seen, digest, sizeof seen);
        replay_windows_renew(replay->windows);
    }
    return error_explain(ERROR_IO,
                         "group %s: the journal at segment %llu, block %u, on %s reads as other bytes each time: check the disk and "
                         "its cables. Nothing was changed",
                         group_name(replay->group), (unsigned long long)replay->place.serial, replay->place.offset,
                         replay->group->devices[replay->place.device]->path);
}

/* One append; ERROR_NOT_FOUND at the end of the chain. A joint goes before the place that the append before named. */
static enum error step(struct replay *replay)
{
    struct replay_append read;
    const struct place *joint = checkpoint_joint(replay->checkpoint, replay->tag);
    if (joint) {
        replay->place = *joint;
        joint_note(replay, joint);
    }
    TRY(append_get(replay, &read));
    struct append_format append = *read.append;
    if (!read.sound) {
        uint64_t durable = replay->durable_seen;
        TRY(replay_durable_behind(replay, &durable));
        if (durable < le64_get(append.last_sequence) && !replay_has_more(replay))
            return ERROR_NOT_FOUND; /* torn: no flush covered it */
        message(MESSAGE_ERROR, "group %s: a unit in segment %llu, append at block %u, is damaged; it is read as an error",
                group_name(replay->group), (unsigned long long)replay->place.serial, replay->place.offset);
        TRY(append_get(replay, &read));
    }
    TRY(replay_append_apply(replay, read.append));
    replay->durable_seen = MAX(replay->durable_seen, le64_get(append.durable));
    memcpy(replay->tag, append.tag, sizeof replay->tag);
    replay->place = place_decode(&append.next);
    return ERROR_NONE;
}

static enum error walk(struct replay *replay)
{
    enum error error;
    while ((error = step(replay)) == ERROR_NONE)
        ;
    if (error != ERROR_NOT_FOUND)
        return error;
    uint64_t durable = replay->durable_seen;
    TRY(replay_durable_behind(replay, &durable));
    if (replay_has_more(replay) || durable > MAX(replay->last_sequence, replay->checkpoint->sequence)) {
        error = replay_damage(replay, durable);
        if (!replay->group->config.cut_journal)
            return error;
        TRY(replay_end_agree(replay, true));
        replay_evidence(replay);
        if (replay->group->config.read_only) /* the repair's look, which comes first */
            message(MESSAGE_ERROR, "%s: what precedes is kept, what follows is given up (--repair)", error_sentence(error));
    } else {
        TRY(replay_end_agree(replay, replay->passed > 0));
    }
    return replay_room_check(replay);
}

enum error replay_run(struct group *group, const struct checkpoint *checkpoint, struct replay_end *end)
{
    struct replay replay = {
        .group = group,
        .checkpoint = checkpoint,
        .record = malloc(sizeof *replay.record),
        .head = memory_aligned(BLOCK_SIZE),
        .place = checkpoint->start,
        .last_sequence = checkpoint->sequence,
    };
    memcpy(replay.tag, checkpoint->start_tag, sizeof replay.tag);
    uint64_t begin = clock_monotonic();
    if (replay.head)
        memset(replay.head, 0, BLOCK_SIZE);
    enum error error =
        replay.record && replay.head ? replay_windows_open(group, checkpoint, &replay.windows) : ERROR_NO_MEMORY;
    if (!error)
        error = walk(&replay);
    replay_index_finish(&replay);
    uint64_t bytes = replay.windows ? replay_windows_bytes(replay.windows) : 0;
    replay_windows_close(replay.windows);
    free(replay.head);
    free(replay.record);
    if (error)
        return error;
    *end = (struct replay_end){.last_sequence = replay.last_sequence};
    memcpy(end->tag, replay.tag, sizeof end->tag);
    group->replay_bytes = bytes;
    group->replay_nanoseconds = clock_monotonic() - begin;
    return ERROR_NONE;
}
