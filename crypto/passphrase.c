/*
 * Reading a passphrase: from a file, a systemd credential or the terminal.
 *
 * The bytes go straight into the arena, by read(2): stdio would keep a copy in its buffer. The terminal is read key
 * by key with echo, line editing and signals off, so that this code also sees an interrupt and always leaves the
 * terminal as it was. Nothing is written anywhere; a passphrase from the environment or argv is not accepted at all
 * (CREDENTIALS_DIRECTORY only names where systemd put the file).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/message.h"
#include "crypto/arena.h"
#include "crypto/provider.h"

#define ROOM            (PASSPHRASE_MAX + 2) /* a newline, and one byte more to tell that it is too long */
#define CREDENTIAL      "coffer.passphrase"
#define CONTROL(letter) ((letter)&0x1f)
#define DELETE          0x7f

struct line {
    char *text; /* ROOM bytes in the arena */
    size_t size;
};

static void close_scope(const int *descriptor)
{
    if (*descriptor > STDERR_FILENO)
        close(*descriptor);
}
#define AUTO_CLOSE __attribute__((cleanup(close_scope)))

static enum error line_check(const struct line *line)
{
    if (line->size == 0)
        return error_explain(ERROR_INVALID, "the passphrase is empty");
    if (line->size > PASSPHRASE_MAX)
        return error_explain(ERROR_TOO_LARGE, "the passphrase is longer than %d bytes", PASSPHRASE_MAX);
    return ERROR_NONE;
}

static enum error descriptor_read(int descriptor, const char *path, struct line *line)
{
    TRY(file_read_up_to(descriptor, path, line->text, ROOM, &line->size));
    if (line->size > 0 && line->text[line->size - 1] == '\n')
        line->size--;
    return line_check(line);
}

static void mode_warn(int descriptor, const char *path)
{
    struct stat status;
    if (fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode) && (status.st_mode & (S_IRGRP | S_IROTH)) != 0)
        message(MESSAGE_WARNING, "others may read the passphrase in %s: chmod 600 %s", path, path);
}

static enum error file_line_read(const char *path, struct line *line)
{
    AUTO_CLOSE int descriptor = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (descriptor < 0)
        return error_from_errno(errno, "open %s", path);
    mode_warn(descriptor, path);
    return descriptor_read(descriptor, path, line);
}

static void prompt_write(int terminal, const char *text)
{
    ssize_t ignored = write(terminal, text, strlen(text));
    (void)ignored;
}

/* Takes one key; true while the line goes on. */
static bool key_take(struct line *line, char key, enum error *error)
{
    if (key == CONTROL('C') || key == CONTROL('\\') || (key == CONTROL('D') && line->size == 0)) {
        *error = error_explain(ERROR_INTERRUPTED, "interrupted at the passphrase");
        return false;
    }
    if (key == '\n' || key == '\r' || key == CONTROL('D'))
        return false;
    if (key == DELETE || key == CONTROL('H'))
        line->size -= line->size > 0;
    else if (key == CONTROL('U'))
        line->size = 0;
    else if (line->size < ROOM)
        line->text[line->size++] = key;
    return true;
}

static enum error keys_read(int terminal, struct line *line)
{
    enum error error = ERROR_NONE;
    for (;;) {
        char key;
        ssize_t count = read(terminal, &key, 1);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return error_from_errno(errno, "read the terminal");
        if (count == 0)
            return error_explain(ERROR_INTERRUPTED, "the terminal was closed at the passphrase");
        if (!key_take(line, key, &error))
            return error;
    }
}

static enum error terminal_line_read(int terminal, const char *prompt, struct line *line)
{
    struct termios before;
    if (tcgetattr(terminal, &before) != 0)
        return error_from_errno(errno, "ask at the terminal");
    struct termios silent = before;
    silent.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | ISIG);
    silent.c_cc[VMIN] = 1;
    silent.c_cc[VTIME] = 0;
    prompt_write(terminal, prompt);
    if (tcsetattr(terminal, TCSAFLUSH, &silent) != 0)
        return error_from_errno(errno, "turn off the terminal's echo");
    enum error error = keys_read(terminal, line);
    tcsetattr(terminal, TCSAFLUSH, &before);
    prompt_write(terminal, "\n");
    return error;
}

static enum error line_confirm(int terminal, const struct line *line)
{
    struct line again = {.text = arena_allocate(ROOM)};
    if (again.text == NULL)
        return ERROR_NO_MEMORY;
    enum error error = terminal_line_read(terminal, "The same again: ", &again);
    if (error == ERROR_NONE &&
        (again.size != line->size || memory_compare_constant_time(again.text, line->text, line->size) != 0))
        error = error_explain(ERROR_INVALID, "the two passphrases differ");
    arena_free(again.text);
    return error;
}

static enum error terminal_ask(const char *prompt, bool confirm, struct line *line)
{
    AUTO_CLOSE int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (terminal < 0)
        return error_explain(ERROR_NOT_FOUND,
                             "no passphrase: there is no terminal to ask at; give a passphrase file or the systemd "
                             "credential " CREDENTIAL);
    TRY(terminal_line_read(terminal, prompt, line));
    TRY(line_check(line));
    return confirm ? line_confirm(terminal, line) : ERROR_NONE;
}

/* NULL where systemd passed no such credential. */
static char *credential_path(void)
{
    const char *directory = getenv("CREDENTIALS_DIRECTORY");
    char *path = directory == NULL ? NULL : file_join(directory, CREDENTIAL);
    if (path != NULL && access(path, F_OK) == 0)
        return path;
    free(path);
    return NULL;
}

static enum error line_read(const char *path, const char *prompt, bool confirm, struct line *line)
{
    AUTO_FREE char *credential = path == NULL ? credential_path() : NULL;
    if (path != NULL || credential != NULL)
        return file_line_read(path != NULL ? path : credential, line);
    return terminal_ask(prompt, confirm, line);
}

enum error passphrase_read(const char *path, const char *prompt, bool confirm, char **passphrase, size_t *size)
{
    struct line line = {.text = arena_allocate(ROOM)};
    if (line.text == NULL)
        return ERROR_NO_MEMORY;
    enum error error = line_read(path, prompt, confirm, &line);
    if (error != ERROR_NONE) {
        arena_free(line.text);
        return error;
    }
    memory_cleanse(line.text + line.size, ROOM - line.size);
    *passphrase = line.text;
    *size = line.size;
    return ERROR_NONE;
}
