/*
 * Errors of Coffer as errors of NBD. The protocol has few numbers; what a person needs to know beyond them is the
 * sentence, which travels in an error chunk or in the answer to an option.
 *
 * No state, no locks, nothing on disk.
 */
#include "server/nbd/errors.h"

static enum wire_error range_error(uint16_t command)
{
    return command == COMMAND_WRITE || command == COMMAND_WRITE_ZEROES ? WIRE_ENOSPC : WIRE_EINVAL;
}

static enum wire_error class_error(enum error_class class)
{
    switch (class) {
    case ERROR_CLASS_NONE:
        return WIRE_OK;
    case ERROR_CLASS_BAD_REQUEST:
        return WIRE_EINVAL;
    case ERROR_CLASS_NO_SPACE:
        return WIRE_ENOSPC;
    case ERROR_CLASS_REFUSED:
        return WIRE_EPERM;
    case ERROR_CLASS_RETRY:
    case ERROR_CLASS_CORRUPT:
    case ERROR_CLASS_FENCE:
    case ERROR_CLASS_BUG:
        break;
    }
    return WIRE_EIO;
}

enum wire_error wire_error(enum error error, uint16_t command)
{
    switch (error) {
    case ERROR_OUT_OF_RANGE:
        return range_error(command);
    case ERROR_NO_MEMORY:
        return WIRE_ENOMEM;
    case ERROR_TOO_LARGE:
        return command == COMMAND_READ ? WIRE_EOVERFLOW : WIRE_EINVAL;
    case ERROR_LOCKED:
    case ERROR_CLOSED:
        return WIRE_ESHUTDOWN;
    default:
        return class_error(error_class(error));
    }
}

uint32_t option_error(enum error error)
{
    switch (error) {
    case ERROR_UNSUPPORTED:
        return OPTION_ERROR_UNSUPPORTED;
    case ERROR_INVALID:
    case ERROR_PROTOCOL:
        return OPTION_ERROR_INVALID;
    case ERROR_TOO_LARGE:
        return OPTION_ERROR_TOO_BIG;
    case ERROR_CLOSED:
        return OPTION_ERROR_SHUTDOWN;
    case ERROR_NOT_FOUND:
        return OPTION_ERROR_UNKNOWN;
    default:
        return OPTION_ERROR_POLICY;
    }
}
